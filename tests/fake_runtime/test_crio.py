"""The fake CRI-O answers as the real one did when it was asked the same (docs/runtimes.md): one
row for each answer that a test or the demo would otherwise rely on in vain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.fake_runtime._pb import workload_pb2 as pb
from reconciler.fake_runtime.calls import Calls
from reconciler.fake_runtime.habits import ALL, CRIO, CRIO_EVENTS_OFF, Habits
from reconciler.fake_runtime.node import Node, Refused, Stored, layer

from ..builders import T0

APP = "localhost:5000/keep/app:v1"
REPOSITORY = APP.removesuffix(":v1")
OTHER = "localhost:5000/other:v1"
UNKNOWN = "0123456789ab"  # digits of no image here
NOTHING = "nothing"


class Asked:
    """A node with one image, pulled by its tag, and what it answers."""

    def __init__(self, habits: Habits = CRIO) -> None:
        self.node = Node(habits)
        self.calls = Calls(self.node, lambda: T0)
        self.image = self.push("first")
        self.manifest = f"sha256:{self.image.manifest}"

    def push(self, content: str) -> Stored:
        """The tag means another image from now on, which is pulled."""
        self.node.publish(APP, [layer(content, 1000)])
        return self.node.pull(APP, T0)

    def status(self, text: str) -> str:
        """The bare id of what a text means, or that it is nothing, or the error."""
        request = pb.ImageStatusRequest(image=pb.ImageSpec(image=text))
        answer = self._answer_of(self.calls.image_status, request)
        if isinstance(answer, str):
            return answer
        return answer.image.id if answer.HasField("image") else NOTHING

    def names(self, image: Stored) -> tuple[list[str], list[str]]:
        """Tags and names by digest as listed."""
        listed = self.calls.list_images(pb.ListImagesRequest()).images
        one = next(one for one in listed if one.id == image.hex_id)
        return list(one.repo_tags), list(one.repo_digests)

    def remove(self, text: str) -> tuple[str, bool]:
        """What RemoveImage answers, and whether the first image is still there."""
        request = pb.RemoveImageRequest(image=pb.ImageSpec(image=text))
        answer = self._answer_of(self.calls.remove_image, request)
        outcome = answer if isinstance(answer, str) else "OK"
        return outcome, self.image.hex_id in self.node.images

    def pull(self, text: str) -> str:
        request = pb.PullImageRequest(image=pb.ImageSpec(image=text))
        answer = self._answer_of(self.calls.pull_image, request)
        return answer if isinstance(answer, str) else answer.image_ref

    def run_pod(self, attempt: int = 0) -> str:
        metadata = pb.PodSandboxMetadata(name="web", namespace="shop", uid="u", attempt=attempt)
        request = pb.RunPodSandboxRequest(config=pb.PodSandboxConfig(metadata=metadata))
        return self.calls.run_pod_sandbox(request).pod_sandbox_id

    def create(self, image: str, pod: str = "", volume: str = "") -> str:
        """The container's id, or the error as the client has it."""
        mounts = [pb.Mount(container_path="/data", image=pb.ImageSpec(image=volume))]
        config = pb.ContainerConfig(
            image=pb.ImageSpec(image=image), mounts=mounts if volume else []
        )
        request = pb.CreateContainerRequest(pod_sandbox_id=pod or self.run_pod(), config=config)
        answer = self._answer_of(self.calls.create_container, request)
        return answer if isinstance(answer, str) else answer.container_id

    def container(self, container_id: str) -> Any:
        request = pb.ContainerStatusRequest(container_id=container_id)
        return self.calls.container_status(request).status

    def pod(self, pod: str) -> Any:
        return self.calls.pod_sandbox_status(pb.PodSandboxStatusRequest(pod_sandbox_id=pod))

    def start(self, container_id: str) -> str:
        request = pb.StartContainerRequest(container_id=container_id)
        answer = self._answer_of(self.calls.start_container, request)
        return answer if isinstance(answer, str) else "OK"

    def _answer_of(self, call: Callable[[Any], Any], request: Any) -> Any:
        try:
            return call(request)
        except Refused as refused:
            return f"{refused.code} {refused}"


def short_name(text: str) -> str:
    why = "did not resolve to an alias and no unqualified-search registries are defined"
    return f'UNKNOWN short-name "{text}" {why}'


# --- what a text means ---------------------------------------------------------------------------

TEXTS = {
    "a pod that asks by tag and digest looks as if its image were missing": (
        REPOSITORY + ":v9@{manifest}",
        "{id}",
    ),
    "a pod that asks by digest looks as if its image were missing": (
        REPOSITORY + "@{manifest}",
        "{id}",
    ),
    "a digest is found under a repository that the image is not of": (
        "localhost:5000/another@{manifest}",
        NOTHING,
    ),
    "a name without a tag is not the latest": (REPOSITORY, NOTHING),
    "an id that crictl cut is not found": ("{cut}", "{id}"),
    "two digits are taken for an id": ("{two}", short_name("{two}")),
    "twelve digits of no image are an error": (UNKNOWN, NOTHING),
    "a whole id of no image is an error": ("0" * 64, NOTHING),
    "an id in containerd's form is found": ("sha256:{id}", short_name("sha256:{id}")),
    "what is no name is reported as a short one": (
        f"{REPOSITORY}:",
        f"UNKNOWN '{REPOSITORY}:': invalid reference format",
    ),
    "capitals are reported as a short name": ("App", "UNKNOWN 'App': invalid reference format"),
    "a short name is completed": ("app", short_name("app")),
}


@pytest.mark.parametrize(("text", "real"), TEXTS.values(), ids=TEXTS.keys())
def test_a_text_means_what_it_means_on_cri_o(text: str, real: str) -> None:
    """Asked for by ImageStatus, and by the filter of ListImages alike."""
    at = Asked()
    words = {
        "id": at.image.hex_id,
        "cut": at.image.hex_id[:12],
        "two": at.image.hex_id[:2],
        "manifest": at.manifest,
    }
    text, real = text.format(**words), real.format(**words)
    assert at.status(text) == real
    if not real.startswith("UNKNOWN"):
        wanted = pb.ImageFilter(image=pb.ImageSpec(image=text))
        listed = at.calls.list_images(pb.ListImagesRequest(filter=wanted)).images
        assert [one.id for one in listed] == ([] if real == NOTHING else [real])


def test_a_name_without_a_tag_is_pulled_and_found_as_the_latest() -> None:
    """kubelet does so itself; crictl leaves it to the runtime."""
    at = Asked()
    at.node.publish(f"{REPOSITORY}:latest", [layer("latest", 1)])
    pulled = at.pull(REPOSITORY)
    assert at.status(REPOSITORY) == pulled == at.status(f"{REPOSITORY}:latest")
    assert pulled != at.image.hex_id


@pytest.mark.parametrize("habits", ALL.values(), ids=ALL.keys())
def test_crictl_pull_busybox_finds_the_busybox_that_is_there(habits: Habits) -> None:
    """Published by its short name it is Docker Hub's: containerd completes the name, CRI-O knows it
    as an alias; both list it under the whole one."""
    at = Asked(habits)
    at.node.publish("busybox:latest", [layer("busybox", 1)])
    pulled = at.pull("busybox")
    for text in ("busybox", "busybox:latest", "docker.io/library/busybox:latest"):
        assert at.status(text) == pulled
    assert at.node.images[pulled.removeprefix("sha256:")].tags == [
        "docker.io/library/busybox:latest"
    ]


def test_a_pull_of_what_is_no_name_or_a_short_one_is_refused_by_cri_o() -> None:
    """Not as unknown to a registry: none was asked."""
    at = Asked()
    assert at.pull(f"{REPOSITORY}:") == f"UNKNOWN '{REPOSITORY}:': invalid reference format"
    assert at.pull("app:v1") == short_name("app:v1")


# --- which names are listed ----------------------------------------------------------------------


def imported(at: Asked) -> object:
    return at.names(at.node.import_image("localhost/built:v1", [layer("built", 1)]))[1]


def tagged_elsewhere(at: Asked) -> object:
    at.node.tag(at.image, OTHER)
    return at.names(at.image)[1]


def last_tag_of_a_repository_removed(at: Asked) -> object:
    at.node.tag(at.image, OTHER)
    at.remove(APP)
    return at.names(at.image)


def one_of_two_tags_of_a_repository_removed(at: Asked) -> object:
    at.node.tag(at.image, f"{REPOSITORY}:v2")
    at.remove(APP)
    return at.names(at.image)


def tag_moved(at: Asked) -> object:
    at.push("second")
    return at.names(at.image)


def tags_moved_one_after_the_other(at: Asked) -> object:
    """CRI-O reports the name that the image had first, not the one that it lost last."""
    at.node.tag(at.image, OTHER)
    at.push("second")
    at.node.tag(at.node.pull(APP, T0), OTHER)
    return at.names(at.image)


def pause_moved(at: Asked) -> object:
    old = at.node.images[at.node.pull(at.node.pause_name, T0).hex_id]
    pinned = old.pinned
    at.node.publish(at.node.pause_name, [layer("pause, again", 1)])
    new = at.node.pull(at.node.pause_name, T0)
    made_up = f"registry.k8s.io/pause@sha256:{old.manifest}"
    return pinned, old.pinned, new.pinned, at.names(old) == ([], [made_up])


NAMES: dict[str, tuple[Callable[[Asked], object], object]] = {
    "an image that was built here has no name by digest": (
        imported,
        ["localhost/built@sha256:{built}"],
    ),
    "a tag in another repository brings no name by digest": (
        tagged_elsewhere,
        [REPOSITORY + "@{manifest}", "localhost:5000/other@{manifest}"],
    ),
    "a repository's name by digest outlives its last tag": (
        last_tag_of_a_repository_removed,
        ([OTHER], ["localhost:5000/other@{manifest}"]),
    ),
    "a repository's name by digest goes with the first of its tags": (
        one_of_two_tags_of_a_repository_removed,
        ([REPOSITORY + ":v2"], [REPOSITORY + "@{manifest}"]),
    ),
    "an image whose tag moved is listed under its repository": (
        tag_moved,
        ([], ["localhost@{manifest}"]),
    ),
    "an image whose tags moved is listed under a repository": (
        tags_moved_one_after_the_other,
        ([], ["localhost@{manifest}"]),
    ),
    "a pause image keeps its pin when its tag moves": (pause_moved, (True, False, True, True)),
}


@pytest.mark.parametrize(("story", "real"), NAMES.values(), ids=NAMES.keys())
def test_an_image_is_listed_under_the_names_that_cri_o_lists(
    story: Callable[[Asked], object], real: object
) -> None:
    """Exclusions, protectUnpullable and pods that ask by digest see what is listed."""
    at = Asked()
    shown = story(at)
    built = next((one.manifest for one in at.node.images.values() if "built" in str(one.tags)), "")
    assert str(shown) == str(real).replace("{manifest}", at.manifest).replace("{built}", built)


def test_a_name_made_up_for_a_registry_with_an_ipv6_address_is_no_name() -> None:
    """Cut at its first colon, within the address: nothing can be asked by it."""
    at = Asked()
    name = "[fc00::3]:5000/hello-app:1.0"
    for content in ("one", "two"):
        at.node.publish(name, [layer(content, 1)])
        at.node.pull(name, T0)
    old = next(one for one in at.node.images.values() if not one.names)
    assert at.names(old) == ([], [f"[fc00@sha256:{old.manifest}"])
    assert "invalid reference format" in at.status(old.made_up)


# --- RemoveImage ---------------------------------------------------------------------------------


def mounted(text: str) -> Callable[[Asked], object]:
    def story(at: Asked) -> object:
        at.node.tag(at.image, OTHER)
        at.node.publish("localhost:5000/web:v1", [layer("web", 1)])
        at.node.pull("localhost:5000/web:v1", T0)
        user = at.create("localhost:5000/web:v1", volume=APP)
        answer, stays = at.remove(text.format(manifest=at.manifest, id=at.image.hex_id))
        return answer.replace(user, "<user>"), stays

    return story


def by_digest_where_the_digest_was_pulled(at: Asked) -> object:
    at.node.images.clear()
    at.image = at.node.pull(f"{REPOSITORY}@{at.manifest}", T0)
    return at.remove(f"{REPOSITORY}@{at.manifest}")


def by_digest_where_both_were_pulled(at: Asked) -> object:
    at.pull(f"{REPOSITORY}@{at.manifest}")
    return at.remove(APP), at.names(at.image), at.remove(f"{REPOSITORY}@{at.manifest}")


IN_USE = "UNKNOWN the image is in use by <user>"
REMOVALS: dict[str, tuple[Callable[[Asked], object], object]] = {
    "a mounted image goes by its digest": (
        mounted(REPOSITORY + "@{manifest}"),
        (IN_USE, True),
    ),
    "a mounted image loses a tag": (mounted(OTHER), (IN_USE, True)),
    "a mounted image goes by its id": (mounted("{id}"), (IN_USE, True)),
    "an image pulled by tag goes by its digest": (
        lambda at: at.remove(f"{REPOSITORY}@{at.manifest}"),
        ("OK", True),
    ),
    "an image pulled by digest stays": (by_digest_where_the_digest_was_pulled, ("OK", False)),
    "an image goes with its tag, though it was pulled by digest as well": (
        by_digest_where_both_were_pulled,
        (("OK", True), ([], [REPOSITORY + "@{manifest}"]), ("OK", False)),
    ),
    "an image goes by twelve digits of none": (
        lambda at: at.remove(UNKNOWN),
        (short_name(UNKNOWN), True),
    ),
    "an image goes by what is no name": (
        lambda at: at.remove(f"{REPOSITORY}:"),
        (f"UNKNOWN '{REPOSITORY}:': invalid reference format", True),
    ),
}


@pytest.mark.parametrize(("story", "real"), REMOVALS.values(), ids=REMOVALS.keys())
def test_a_removal_takes_what_it_takes_on_cri_o(
    story: Callable[[Asked], object], real: object
) -> None:
    """The answer, and whether the image is still there."""
    at = Asked()
    assert str(story(at)) == str(real).replace("{manifest}", at.manifest)


# --- pods and containers -------------------------------------------------------------------------


def missing(what: str) -> Callable[[Asked], object]:
    asked = {
        "image": {"image": OTHER},
        "id": {"image": "0" * 64},
        "volume": {"image": APP, "volume": OTHER},
        "pod": {"image": APP, "pod": "0" * 64},
    }[what]
    return lambda at: (at.create(**asked).split()[0], len(at.node.containers))


def started_again(at: Asked) -> object:
    made = at.create(APP)
    first = at.start(made)
    at.node.exit(made, T0)
    second = at.start(made).replace(made, "<id>")
    return first, second, at.container(made).state == pb.CONTAINER_EXITED


def the_same_pod_again(at: Asked) -> object:
    first = at.run_pod()
    return at.run_pod() == first, at.run_pod(attempt=1) == first, len(at.node.sandboxes)


def labels(at: Asked) -> object:
    pod = at.run_pod()
    (listed,) = at.calls.list_pod_sandbox(pb.ListPodSandboxRequest()).items
    assert dict(at.pod(pod).status.labels) == dict(listed.labels)
    return sorted(listed.labels.items())


def the_pod_with_its_containers(at: Asked) -> object:
    pod = at.run_pod()
    made = at.create(APP, pod)
    answer = at.pod(pod)
    return [one.id == made for one in answer.containers_statuses], answer.timestamp == int(T0 * 1e9)


def of_an_untagged_image(at: Asked) -> object:
    at.push("second")
    made = at.create(at.image.hex_id)
    (listed,) = at.calls.list_containers(pb.ListContainersRequest()).containers
    status = at.container(made)
    both = [(one.image.image, one.image_ref, one.image_id) for one in (listed, status)]
    return [tuple(text.replace(at.image.hex_id, "<id>") for text in one) for one in both]


def of_an_image_with_many_tags(at: Asked) -> object:
    at.node.tag(at.image, "localhost:5000/aaa:v1")
    at.node.tag(at.image, "localhost:5000/zzz:v1")
    return at.container(at.create(APP)).image.image


PODS: dict[str, tuple[Callable[[Asked], object], object]] = {
    "a container of a missing image is an image not found": (missing("image"), ("UNKNOWN", 0)),
    "a container of a missing id is an image not found": (missing("id"), ("UNKNOWN", 0)),
    "a container of a missing volume is an image not found": (missing("volume"), ("UNKNOWN", 0)),
    "a container of a missing pod is a pod not found": (missing("pod"), ("UNKNOWN", 0)),
    "a container that has exited runs again": (
        started_again,
        ("OK", "UNKNOWN container <id> is not in created state: stopped", True),
    ),
    "a pod that is asked for again is a second one": (the_same_pod_again, (True, False, 2)),
    "a sandbox has no labels": (
        labels,
        [
            ("io.kubernetes.container.name", "POD"),
            ("io.kubernetes.pod.name", "web"),
            ("io.kubernetes.pod.namespace", "shop"),
            ("io.kubernetes.pod.uid", "u"),
        ],
    ),
    "a pod's status lists none of its containers": (the_pod_with_its_containers, ([True], True)),
    "a container of an untagged image has its id for a name": (
        of_an_untagged_image,
        [("<id>", "", "<id>"), ("", "", "<id>")],
    ),
    "a container has the first name of its image": (
        of_an_image_with_many_tags,
        "localhost:5000/zzz:v1",
    ),
}


@pytest.mark.parametrize(("story", "real"), PODS.values(), ids=PODS.keys())
def test_pods_and_containers_are_as_on_cri_o(
    story: Callable[[Asked], object], real: object
) -> None:
    """Codes, ids, labels and names, as the real one reported them."""
    assert story(Asked()) == real


def test_with_events_off_a_pods_status_reports_the_pod_alone() -> None:
    """The containers in it, and the time, are there for readers of events."""
    at = Asked(CRIO_EVENTS_OFF)
    pod = at.run_pod()
    at.create(APP, pod)
    answer = at.pod(pod)
    assert (list(answer.containers_statuses), answer.timestamp) == ([], 0)
