"""The fake runtime's images behave as each real runtime's were measured to: names, ids, tags
that move, sizes, what RemoveImage answers. A fake that is wrong here proves nothing anywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.fake_runtime._pb import workload_pb2 as pb
from reconciler.fake_runtime.calls import Calls
from reconciler.fake_runtime.habits import (
    ALL,
    CONTAINERD_1_6,
    CONTAINERD_1_7,
    CONTAINERD_2,
    CONTAINERD_2_4,
    CRIO,
    CRIO_1_29,
    Habits,
)
from reconciler.fake_runtime.node import Node, Refused, Stored, layer

from ..builders import T0

APP = "localhost:5000/app:v1"
CONTAINERDS = pytest.mark.parametrize(
    "habits",
    [CONTAINERD_1_6, CONTAINERD_1_7, CONTAINERD_2, CONTAINERD_2_4],
    ids=lambda habits: habits.version,
)
EVERY = pytest.mark.parametrize("habits", ALL.values(), ids=ALL.keys())


def a_node(habits: Habits) -> tuple[Node, Calls, Stored]:
    """A node with one image, and its calls."""
    node = Node(habits)
    node.publish(APP, [layer("base", 1000, ratio=3), layer("app", 500, ratio=3)])
    return node, Calls(node, lambda: T0), node.pull(APP, T0)


def push_again(node: Node) -> Stored:
    """The tag moves: pushed with another content, and pulled."""
    node.publish(APP, [layer("base", 1000, ratio=3), layer("app, again", 500, ratio=3)])
    return node.pull(APP, T0 + 60)


def remove(calls: Calls, text: str) -> None:
    calls.remove_image(pb.RemoveImageRequest(image=pb.ImageSpec(image=text)))


def status(calls: Calls, text: str, verbose: bool = False) -> Any:
    request = pb.ImageStatusRequest(image=pb.ImageSpec(image=text), verbose=verbose)
    return calls.image_status(request)


def listed(calls: Calls, image: Stored) -> Any:
    """The image's entry in ListImages."""
    found = calls.list_images(pb.ListImagesRequest()).images
    return next(one for one in found if one.id.endswith(image.hex_id))


@EVERY
def test_an_id_is_listed_in_the_runtimes_own_form(habits: Habits) -> None:
    """containerd writes sha256: before it, CRI-O does not."""
    _, calls, image = a_node(habits)
    expected = image.hex_id if habits.crio else f"sha256:{image.hex_id}"
    assert listed(calls, image).id == expected
    assert status(calls, APP).image.id == expected


@EVERY
def test_a_size_is_compressed_on_containerd_and_unpacked_on_cri_o(habits: Habits) -> None:
    """Shared layers are counted in every image, on both."""
    _, calls, image = a_node(habits)
    assert listed(calls, image).size == (4500 if habits.crio else 1500)


@EVERY
def test_the_pause_image_is_pinned_where_the_runtime_pins_it(habits: Habits) -> None:
    """containerd 1.6.20 pins nothing: a fake that did would hide what tools delete there."""
    node, calls, _ = a_node(habits)
    pod = node.run_pod("web", T0)
    assert listed(calls, pod.pause).pinned == (habits is not CONTAINERD_1_6)


@CONTAINERDS
def test_a_moved_tag_leaves_the_digest_name_on_containerd(habits: Habits) -> None:
    """The old image has no tag, and resolves by its digest and its id."""
    node, calls, old = a_node(habits)
    digests = list(old.digests)
    new = push_again(node)
    assert (list(listed(calls, old).repo_tags), list(listed(calls, old).repo_digests)) == (
        [],
        digests,
    )
    assert status(calls, digests[0]).image.id == f"sha256:{old.hex_id}"
    assert status(calls, APP).image.id == f"sha256:{new.hex_id}"


def test_a_moved_tag_leaves_a_made_up_name_on_cri_o() -> None:
    """The list shows the old name cut at its first colon, with the true digest; the status shows
    no name at all, and the made-up one leads nowhere."""
    node, calls, old = a_node(CRIO)
    manifest = old.digests[0].partition("@")[2]
    push_again(node)
    made_up = f"localhost@{manifest}"
    assert list(listed(calls, old).repo_digests) == [made_up]
    by_id = status(calls, old.hex_id).image
    assert (by_id.id, list(by_id.repo_tags), list(by_id.repo_digests)) == (old.hex_id, [], [])
    with pytest.raises(Refused, match="short-name"):
        status(calls, made_up)
    assert not status(calls, f"localhost:5000/app@{manifest}").HasField("image")


@EVERY
def test_an_image_pulled_by_digest_has_no_tag(habits: Habits) -> None:
    """And is wanted all the same."""
    node, calls, image = a_node(habits)
    digest = image.digests[0]
    node.images.clear()
    again = node.pull(digest, T0)
    assert (list(listed(calls, again).repo_tags), list(listed(calls, again).repo_digests)) == (
        [],
        [digest],
    )


@CONTAINERDS
@pytest.mark.parametrize("form", ["id", "bare hex", "three digits", "tag and digest", "digest"])
def test_containerd_finds_an_image_by_many_forms(habits: Habits, form: str) -> None:
    """All but none of these forms are ids as listed: only those are safe to send."""
    _, calls, image = a_node(habits)
    digest = image.digests[0].partition("@")[2]
    text = {
        "id": f"sha256:{image.hex_id}",
        "bare hex": image.hex_id,
        "three digits": image.hex_id[:3],
        "tag and digest": f"localhost:5000/app:other@{digest}",
        "digest": f"localhost:5000/app@{digest}",
    }[form]
    assert status(calls, text).image.id == f"sha256:{image.hex_id}"


@CONTAINERDS
def test_containerd_completes_a_short_name(habits: Habits) -> None:
    """As Docker does: docker.io, library, latest."""
    node = Node(habits)
    node.publish("docker.io/library/nginx:latest", [layer("nginx", 1)])
    node.pull("docker.io/library/nginx:latest", T0)
    assert status(Calls(node, lambda: T0), "nginx").HasField("image")


def test_cri_o_takes_the_other_form_of_an_id_for_a_name() -> None:
    """sha256:<hex> is never found: sent for a removal it would remove nothing."""
    node, calls, image = a_node(CRIO)
    with pytest.raises(Refused, match='short-name "sha256:') as refused:
        remove(calls, f"sha256:{image.hex_id}")
    assert refused.value.code == "UNKNOWN"
    assert image.hex_id in node.images


@pytest.mark.parametrize("habits", [CONTAINERD_2, CRIO], ids=["containerd", "cri-o"])
def test_what_is_no_image_is_answered_ok_and_empty(habits: Habits) -> None:
    """Not with NOT_FOUND: an OK proves neither that something was there nor that it went."""
    _, calls, _ = a_node(habits)
    for text in ("0" * 64, "localhost:5000/other:v1"):
        assert not status(calls, text).HasField("image")
        remove(calls, text)


# --- RemoveImage -------------------------------------------------------------------------------


@CONTAINERDS
def test_containerd_removes_an_image_in_use_without_an_error(habits: Habits) -> None:
    """By any of its tags, with all of its tags: nothing but our graph protects a container."""
    node, calls, image = a_node(habits)
    node.tag(image, "localhost:5000/other:v1")
    pod = node.run_pod("web", T0)
    node.create(pod.id, APP, T0)
    remove(calls, "localhost:5000/other:v1")
    assert image.hex_id not in node.images
    assert calls.removals[-1].users == tuple(node.containers)  # what tests judge by


@CONTAINERDS
def test_containerd_removes_a_lone_image_for_an_empty_text(habits: Habits) -> None:
    """Of two it does not know which."""
    node, calls, image = a_node(habits)
    remove(calls, "")
    assert node.images == {}
    node, calls, image = a_node(habits)
    node.pull(node.pause_name, T0)
    with pytest.raises(Refused, match="ambiguous"):
        remove(calls, "")
    assert image.hex_id in node.images


def test_cri_o_refuses_an_empty_text() -> None:
    """No image specified."""
    _, calls, _ = a_node(CRIO)
    with pytest.raises(Refused, match="no image specified"):
        remove(calls, "")


@pytest.mark.parametrize("state", ["created", "running", "exited"])
def test_cri_o_refuses_an_image_in_use_by_id(state: str) -> None:
    """In any state of its container, with a code that says nothing."""
    node, calls, image = a_node(CRIO)
    container = node.create(node.run_pod("web", T0).id, APP, T0)
    if state != "created":
        node.start(container.id, T0)
    if state == "exited":
        node.exit(container.id, T0)
    with pytest.raises(Refused) as refused:
        remove(calls, image.hex_id)
    assert (refused.value.code, str(refused.value)) == (
        "UNKNOWN",
        f"delete image: image used by {container.id}: image is in use by a container",
    )
    assert image.hex_id in node.images


def test_cri_o_refuses_the_last_name_of_an_image_in_use_and_takes_others() -> None:
    """A tag of several goes, in use or not, and the image stays."""
    node, calls, image = a_node(CRIO)
    node.tag(image, "localhost:5000/other:v1")
    container = node.create(node.run_pod("web", T0).id, APP, T0)
    remove(calls, "localhost:5000/other:v1")
    assert image.tags == [APP]
    with pytest.raises(Refused, match=f"^image used by {container.id}: image is in use"):
        remove(calls, APP)


def test_cri_o_refuses_the_pause_image_of_any_pod() -> None:
    """Until the pod is removed, stopped ones too."""
    node, calls, _ = a_node(CRIO)
    pod = node.run_pod("web", T0)
    node.stop_pod(pod.id, T0)
    with pytest.raises(Refused, match=f"image used by {pod.id}"):
        remove(calls, pod.pause.hex_id)
    node.remove_pod(pod.id, T0)
    remove(calls, pod.pause.hex_id)  # pinned as it is: a pin is advice
    assert pod.pause.hex_id not in node.images


def test_cri_o_refuses_an_image_that_is_mounted() -> None:
    """By any name, with a text of its own."""
    node, calls, image = a_node(CRIO)
    node.publish("localhost:5000/web:v1", [layer("web", 1)])
    node.pull("localhost:5000/web:v1", T0)
    pod = node.run_pod("web", T0)
    user = node.create(pod.id, "localhost:5000/web:v1", T0, volumes={"/data": APP})
    for text in (image.hex_id, APP):
        with pytest.raises(Refused, match=f"^the image is in use by {user.id}$"):
            remove(calls, text)


def test_cri_o_says_ok_and_removes_nothing_for_a_digest_name() -> None:
    """Of an image pulled by tag, in use or not: an OK proves nothing."""
    node, calls, image = a_node(CRIO)
    remove(calls, image.digests[0])
    assert image.hex_id in node.images


def test_cri_o_removes_an_unused_image_with_all_its_tags_by_id() -> None:
    """The one form that removes it wholly."""
    node, calls, image = a_node(CRIO)
    node.tag(image, "localhost:5000/other:v1")
    remove(calls, image.hex_id)
    assert node.images == {}


@EVERY
def test_removing_twice_is_fine(habits: Habits) -> None:
    """Another hand may have been quicker."""
    node, calls, image = a_node(habits)
    image_id = habits.id_text(image.hex_id)
    remove(calls, image_id)
    remove(calls, image_id)
    assert node.images == {}


# --- what is reported of a container's image ------------------------------------------------------


@pytest.mark.parametrize(
    ("habits", "ref", "image_id"),
    [
        (CONTAINERD_1_6, "sha256:{id}", ""),
        (CONTAINERD_1_7, "sha256:{id}", ""),
        (CONTAINERD_2, "sha256:{id}", ""),
        (CONTAINERD_2_4, "sha256:{id}", "sha256:{id}"),
        (CRIO, "{digest}", "{id}"),
        (CRIO_1_29, "{id}", ""),
    ],
    ids=[
        "containerd-1.6",
        "containerd-1.7",
        "containerd-2",
        "containerd-2.4",
        "cri-o",
        "cri-o-1.29",
    ],
)
def test_a_listed_containers_image_has_each_runtimes_form(
    habits: Habits, ref: str, image_id: str
) -> None:
    """As the creator asked for it, and by id or digest; a tag that moves changes none of it."""
    node, calls, image = a_node(habits)
    digest = image.digests[0]
    node.create(node.run_pod("web", T0).id, APP, T0)
    push_again(node)
    (container,) = calls.list_containers(pb.ListContainersRequest()).containers
    assert container.image.image == APP
    assert container.image_ref == ref.format(id=image.hex_id, digest=digest)
    assert container.image_id == image_id.format(id=image.hex_id)


def container_status(calls: Calls, container_id: str) -> Any:
    request = pb.ContainerStatusRequest(container_id=container_id)
    return calls.container_status(request).status


def test_a_status_on_containerd_names_what_the_image_is_called_now() -> None:
    """Some tag of today, its digest; of an image that is gone the creator's text and the id."""
    node, calls, image = a_node(CONTAINERD_2)
    node.tag(image, "localhost:5000/aaa:v9")
    made = node.create(node.run_pod("web", T0).id, APP, T0)
    reported = container_status(calls, made.id)
    assert (reported.image.image, reported.image_ref) == ("localhost:5000/aaa:v9", image.digests[0])
    remove(calls, APP)
    reported = container_status(calls, made.id)
    assert (reported.image.image, reported.image_ref) == (APP, f"sha256:{image.hex_id}")


def test_a_status_on_cri_o_names_what_the_image_was_called_then() -> None:
    """Frozen when the container was made, no matter what happens to the tags."""
    node, calls, image = a_node(CRIO)
    digest = image.digests[0]
    made = node.create(node.run_pod("web", T0).id, APP, T0)
    push_again(node)
    reported = container_status(calls, made.id)
    assert (reported.image.image, reported.image_ref, reported.image_id) == (
        APP,
        digest,
        image.hex_id,
    )


def test_a_mount_has_the_creators_text_on_containerd_and_the_id_on_cri_o() -> None:
    """The manifest at the path's end is that of the moment of mounting."""
    for habits in (CONTAINERD_2, CRIO):
        node, calls, image = a_node(habits)
        manifest = image.digests[0].partition("@sha256:")[2]
        pod = node.run_pod("web", T0)
        made = node.create(pod.id, APP, T0, volumes={"/data": APP})
        push_again(node)
        (mount,) = container_status(calls, made.id).mounts
        assert mount.image.image == (image.hex_id if habits.crio else APP)
        assert mount.host_path.endswith("/merged" if habits.crio else f"/{pod.id}/{manifest}")


@pytest.mark.parametrize(
    "habits", [CONTAINERD_1_6, CONTAINERD_1_7, CRIO_1_29], ids=lambda habits: habits.version
)
def test_old_runtimes_mount_no_images(habits: Habits) -> None:
    """The container is not made."""
    node, _, _ = a_node(habits)
    with pytest.raises(Refused, match="failed to mkdir"):
        node.create(node.run_pod("web", T0).id, APP, T0, volumes={"/data": APP})
    assert node.containers == {}


def test_a_verbose_status_has_layers_and_on_containerd_their_chain() -> None:
    """The chain's name hashes each layer onto those below it."""
    _, calls, image = a_node(CONTAINERD_2)
    fields = json.loads(status(calls, APP, verbose=True).info["info"])
    base, app = fields["imageSpec"]["rootfs"]["diff_ids"]
    assert [base, app] == [f"sha256:{one.diff_id}" for one in image.layers]
    assert fields["chainID"].startswith("sha256:")
    assert fields["chainID"] not in (base, app)
    _, calls, _ = a_node(CRIO)
    assert json.loads(status(calls, APP, verbose=True).info["info"]).keys() == {"imageSpec"}
