"""Messages as each runtime forms them -> domain values. One story for each form in which a runtime
reports something; the forms are those of docs/runtimes.md."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.cri import lists, translate
from reconciler.cri._pb import runtime_pb2 as pb
from reconciler.domain.inventory import (
    Container,
    ContainerEvent,
    ContainerState,
    EventKind,
    Image,
    Sandbox,
    Template,
    Volume,
)
from reconciler.domain.ledger import Changes, ImageRecord, TemplateRecord, Used
from reconciler.domain.runtime import RuntimeVersion
from reconciler.report import timestamp
from reconciler.store.history import History, read
from reconciler.store.ledger import Ledger

from ..builders import digest
from ..test_history import ONE

HEX = digest("app:v1")
MANIFEST = digest("manifest of app:v1")
BOX = digest("box")
TAG = "localhost:5000/app:v1"
BY_DIGEST = f"localhost:5000/app@sha256:{MANIFEST}"


def listed(**fields: Any) -> pb.Container:
    """One entry of ListContainers."""
    return pb.Container(
        id=digest("c"),
        pod_sandbox_id=BOX,
        metadata=pb.ContainerMetadata(name="main"),
        created_at=1_800_000_000_500_000_000,
        **fields,
    )


def status(**fields: Any) -> pb.ContainerStatus:
    """One ContainerStatus, also as events carry it."""
    return pb.ContainerStatus(id=digest("c"), metadata=pb.ContainerMetadata(name="main"), **fields)


def mount(text: str, host_path: str) -> pb.ContainerStatus:
    return status(mounts=[pb.Mount(host_path=host_path, image=pb.ImageSpec(image=text))])


# --- who answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "numbers"),
    [
        ("containerd", "1.7.24~ds1", (1, 7, 24)),
        ("containerd", "2.1.9+unknown", (2, 1, 9)),
        ("containerd", "v2.4.0-beta.0", (2, 4, 0)),
        ("containerd", "1.6.20~ds1-1+deb12u3", (1, 6, 20)),
        ("cri-o", "1.37.0", (1, 37, 0)),
        ("containerd", "main", ()),
        ("containerd", "", ()),
    ],
)
def test_a_version_is_read_by_its_leading_digits(
    name: str, text: str, numbers: tuple[int, ...]
) -> None:
    """Distributions append to it: read as semver it would fail, and the runtime be unknown."""
    message = pb.VersionResponse(runtime_name=name, runtime_version=text)
    assert translate.version(message) == RuntimeVersion(name, text, numbers)


# --- images --------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_id", [f"sha256:{HEX}", HEX], ids=["containerd", "cri-o"])
def test_an_id_stays_exactly_as_listed(image_id: str) -> None:
    """Only that form may be sent back: CRI-O takes `sha256:<hex>` for a repository's name."""
    message = pb.Image(
        id=image_id, repo_tags=[TAG], repo_digests=[BY_DIGEST], size=1 << 40, pinned=True
    )
    assert translate.image(message) == Image(image_id, (TAG,), (BY_DIGEST,), 1 << 40, True)


def test_an_image_without_tags_keeps_its_digest_names() -> None:
    """Untagged is not unused: pulled by digest, or its tag moved on while a container runs it."""
    message = pb.Image(id=HEX, repo_digests=[BY_DIGEST])
    assert translate.image(message) == Image(HEX, (), (BY_DIGEST,), 0, False)


@pytest.mark.parametrize("said", [(1 << 60) + 1, 1 << 63, (1 << 64) - 1])
def test_a_size_that_no_disk_has_does_not_end_the_daemon(said: int, tmp_path: Path) -> None:
    """A runtime that lists -1 as unsigned was read as 16 EiB, which no column of SQLite takes: the
    daemon ended with the first save, and again at every start. It is a size that nobody knows."""
    listed = translate.image(pb.Image(id=HEX, size=said))
    with closing(Ledger.open(tmp_path)) as ledger, closing(History(tmp_path)) as history:
        ledger.save(Changes({HEX: ImageRecord(1.8e9, size=listed.size)}, {}, {}, []))
        history.add([replace(ONE, size=listed.size)])
        assert (ledger.trouble, history.trouble) == (None, None)
    assert Ledger.read(tmp_path, 1.8e9).images[HEX].size == 0
    assert [one.size for one in read(tmp_path, 1)] == [0]


def test_a_size_that_no_disk_has_is_unchanged_in_the_next_listing() -> None:
    """Each listing would have made the image anew, and looked for what changed in it."""
    message = pb.Image(id=HEX, size=(1 << 64) - 1)
    assert lists._same_image(translate.image(message), message)


@pytest.mark.parametrize("nanoseconds", [-(1 << 63), -1, 0, (1 << 63) - 1])
def test_a_time_at_either_end_of_64_bits_is_kept_and_printed(
    nanoseconds: int, tmp_path: Path
) -> None:
    """A container made in the year 1677 or 2262 is nonsense, and still no reason to end."""
    made = translate.container(pb.Container(id=HEX, created_at=nanoseconds))
    used = {"c": Used(made.created_at, (HEX,))}
    template = TemplateRecord(made.created_at, made.created_at, used)
    record = ImageRecord(made.created_at, last_started=made.created_at)
    changes = Changes({HEX: record}, {}, {}, [], templates={"shop/web": template})
    with closing(Ledger.open(tmp_path)) as ledger:
        ledger.save(changes)
        assert ledger.trouble is None
    assert Ledger.read(tmp_path, 1.8e9).templates["shop/web"].used == used
    assert timestamp(made.created_at).endswith("Z")


# --- containers as listed ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image_ref", "image_id"),
    [
        pytest.param(f"sha256:{HEX}", "", id="containerd 1.6 to 2.2"),
        pytest.param(f"sha256:{HEX}", f"sha256:{HEX}", id="containerd from 2.3"),
        pytest.param(BY_DIGEST, HEX, id="cri-o from 1.30"),
        pytest.param(HEX, "", id="cri-o to 1.29"),
    ],
)
def test_a_listed_container_keeps_both_fields_that_name_its_image(
    image_ref: str, image_id: str
) -> None:
    """Which of the two names the image differs by runtime; the core decides, nothing is mixed."""
    message = listed(
        image=pb.ImageSpec(image=TAG),
        image_ref=image_ref,
        image_id=image_id,
        state=pb.CONTAINER_RUNNING,
    )
    assert translate.container(message) == Container(
        digest("c"),
        BOX,
        "main",
        TAG,
        image_ref,
        image_id,
        ContainerState.RUNNING,
        1_800_000_000.5,
        None,
    )


def test_a_listed_containers_volumes_are_not_known_rather_than_none() -> None:
    """No list has mounts: read as "mounts nothing", an image volume would be removed."""
    assert translate.container(listed()).volumes is None


@pytest.mark.parametrize("state", list(ContainerState))
def test_every_state_of_a_container_arrives_as_itself(state: ContainerState) -> None:
    """An exited container holds its image as much as a running one."""
    message = listed(state=pb.ContainerState.Name(state.value))
    assert translate.container(message).state is state


def test_a_state_from_the_future_reads_as_unknown() -> None:
    """A newer runtime may have states we lack: the container is there in any case."""
    message = pb.Container.FromString(listed().SerializeToString() + b"\x30\x63")  # state = 99
    assert message.state == 99
    assert translate.container(message).state is ContainerState.UNKNOWN


def test_fields_we_do_not_know_are_skipped() -> None:
    """Labels, annotations and what the next version adds arrive too, and do no harm."""
    labels = b"\x42\x06\n\x01a\x12\x01b"  # field 8, one pair of the map
    newer = b"\xfa\x3f\x03new"  # field 1023
    message = pb.Container.FromString(listed().SerializeToString() + labels + newer)
    assert translate.container(message) == translate.container(listed())


# --- containers in status and events -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "image_ref", "image_id"),
    [
        pytest.param("localhost:5000/other:v9", BY_DIGEST, "", id="containerd to 2.2"),
        pytest.param(TAG, f"sha256:{HEX}", "", id="containerd, image gone by then"),
        pytest.param(TAG, BY_DIGEST, f"sha256:{HEX}", id="containerd from 2.3"),
        pytest.param("other:z", BY_DIGEST, HEX, id="cri-o"),
    ],
)
def test_an_events_container_keeps_the_forms_of_a_status(
    text: str, image_ref: str, image_id: str
) -> None:
    """containerd gives a digest name here where the list gives the id, and some tag of today:
    taken for the list's forms they would tie a container to the wrong image."""
    message = status(image=pb.ImageSpec(image=text), image_ref=image_ref, image_id=image_id)
    found = translate.container_status(message, BOX)
    assert (found.sandbox_id, found.image, found.image_ref, found.image_id, found.volumes) == (
        BOX,
        text,
        image_ref,
        image_id,
        (),
    )


# --- image volumes -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["localhost:5000/data:v1", f"sha256:{HEX}"])
def test_a_volume_on_containerd_is_the_creators_text_and_a_manifest(text: str) -> None:
    """The text may be a tag that moves tomorrow; the path's end is what was mounted."""
    path = f"/run/containerd/io.containerd.grpc.v1.cri/image-volumes/{BOX}/{MANIFEST}"
    assert translate.volumes(mount(text, path)) == (Volume(text, f"sha256:{MANIFEST}"),)


def test_a_volume_on_cri_o_is_the_bare_id() -> None:
    """Its host path is a layer's directory, whose hex is no manifest."""
    path = f"/var/lib/containers/storage/overlay/{digest('layer')}/merged"
    assert translate.volumes(mount(HEX, path)) == (Volume(HEX, ""),)


def test_mounts_that_are_no_images_are_no_volumes() -> None:
    """Host paths, and an image field that names nothing."""
    message = status(
        mounts=[
            pb.Mount(host_path=f"/var/lib/kubelet/pods/x/{MANIFEST}"),
            pb.Mount(host_path="/y", image=pb.ImageSpec()),
        ]
    )
    assert translate.volumes(message) == ()


# --- sandboxes and their pause images ------------------------------------------------------------


def test_a_sandbox_is_named_for_people_and_its_pause_image_not_known_yet() -> None:
    """No list names the pause image: it is asked for, once for each sandbox."""
    metadata = pb.PodSandboxMetadata(name="web-1", namespace="shop", uid="one")
    message = pb.PodSandbox(
        id=BOX, metadata=metadata, state=pb.SANDBOX_NOTREADY, created_at=2_000_000_000
    )
    expected = Sandbox(
        BOX, "shop/web-1", 2.0, None, "one", ready=False, template=Template("shop/web-*", False)
    )
    assert translate.sandbox(message) == expected


def test_the_labels_that_kubelet_passes_on_show_what_a_pod_was_made_from() -> None:
    """A list and an event have them in other fields."""
    labels = {"app": "web", "pod-template-hash": "7d4b9"}
    metadata = pb.PodSandboxMetadata(name="web-7d4b9-x2x4z", namespace="shop")
    template = Template("shop/pod-template-hash=7d4b9", exact=True)
    for kind in (pb.PodSandbox, pb.PodSandboxStatus):
        found = translate.sandbox(kind(id=BOX, metadata=metadata, labels=labels))
        assert (found.template, found.ready) == (template, True)


PAUSE = "registry.k8s.io/pause:3.10"
CONFIGURED = "registry.k8s.io/pause:3.11"


@pytest.mark.parametrize(
    ("info", "names"),
    [
        pytest.param({"image": PAUSE, "pid": 7, "runtimeSpec": {}}, (PAUSE,), id="containerd 1"),
        pytest.param(
            {
                "image": PAUSE,
                "runtimeSpec": {
                    "annotations": {"io.kubernetes.cri.podsandbox.image-name": CONFIGURED}
                },
            },
            (PAUSE, CONFIGURED),
            id="containerd 2.1, reconfigured",
        ),
        pytest.param(
            {
                "image": PAUSE,
                "runtimeSpec": {"annotations": {"io.kubernetes.cri-o.ImageName": PAUSE}},
            },
            (PAUSE,),
            id="cri-o, infra container",
        ),
        pytest.param(
            {"runtimeSpec": {"annotations": {"io.kubernetes.cri-o.ImageName": PAUSE}}},
            (PAUSE,),
            id="cri-o, no infra container",
        ),
        pytest.param({"runtimeSpec": {"annotations": {}}}, (), id="a VM's sandbox without pause"),
        pytest.param({"image": f"sha256:{HEX}"}, (f"sha256:{HEX}",), id="a record by id"),
    ],
)
def test_the_pause_image_is_found_wherever_a_runtime_names_it(
    info: dict[str, Any], names: tuple[str, ...]
) -> None:
    """Missed, the pause image of running pods looks unused on containerd 1.6, which pins none."""
    assert translate.pause_names(json.dumps(info)) == names


@pytest.mark.parametrize(
    ("info", "pauseless"),
    [
        pytest.param(
            {"image": "", "processStatus": ""}, True, id="a sandboxer that reports little"
        ),
        pytest.param({"image": "", "processStatus": "SANDBOX_READY", "pid": 7}, True, id="a VM"),
        pytest.param({"image": "", "processStatus": "deleted"}, False, id="containerd lost it"),
        pytest.param({"image": PAUSE, "processStatus": "running"}, False, id="containerd"),
        pytest.param({"processStatus": ""}, False, id="no word of an image"),
        pytest.param({"image": ""}, False, id="nobody knows whose answer"),
        pytest.param({}, False, id="nothing"),
        pytest.param(
            {
                "image": "",
                "processStatus": "",
                "runtimeSpec": {"annotations": {"io.kubernetes.cri-o.ImageName": PAUSE}},
            },
            False,
            id="it is named all the same",
        ),
    ],
)
def test_only_a_sandbox_whose_status_says_so_runs_on_no_image(
    info: dict[str, Any], pauseless: bool
) -> None:
    """What a runtime does not report is unknown; that there is nothing, it has to say."""
    assert translate.is_pauseless(json.dumps(info)) is pauseless


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="no info at all"),
        pytest.param("{", id="cut off"),
        pytest.param("[]", id="a list"),
        pytest.param("null", id="null"),
        pytest.param('"image"', id="a text"),
        pytest.param("[" * 100_000, id="nested until it hurts"),
        pytest.param('{"image": ' + "9" * 5_000 + "}", id="a number too long to read"),
        pytest.param('{"image": {"image": "x"}, "runtimeSpec": "y"}', id="other types"),
        pytest.param('{"image": "", "runtimeSpec": {"annotations": [1]}}', id="empty name"),
        pytest.param('{"image": "\\ud800"}', id="half a character, that no log can print"),
        pytest.param('{"image": "a\\u0000b"}', id="a name with a NUL"),
        pytest.param("NaN", id="not JSON, though Python reads it"),
    ],
)
def test_senseless_verbose_answers_are_read_as_unknown(text: str) -> None:
    """Nobody promises debug JSON: what does not make sense is unknown, never an error."""
    assert translate.pause_names(text) == ()
    assert not translate.is_pauseless(text)
    assert translate.configured_pause(text.replace("image", "sandboxImage")) is None


@pytest.mark.parametrize(
    ("info", "name"),
    [
        pytest.param({"sandboxImage": PAUSE, "snapshotter": "overlayfs"}, PAUSE, id="containerd 1"),
        pytest.param(
            {"sandboxImage": PAUSE, "crio": {"EnablePodEvents": False}}, PAUSE, id="cri-o"
        ),
        pytest.param({"containerd": {}, "cni": {}}, None, id="containerd 2: not reported"),
        pytest.param({"sandboxImage": 5}, None, id="a number"),
    ],
)
def test_the_configured_pause_image_is_taken_where_reported(
    info: dict[str, Any], name: str | None
) -> None:
    """The next pod needs it, even while no pod runs."""
    assert translate.configured_pause(json.dumps(info)) == name


# --- events --------------------------------------------------------------------------------------


def test_an_event_carries_its_pod_and_all_containers_of_it() -> None:
    """With the pod's id each container is tied to its sandbox, which its own status lacks."""
    message = pb.ContainerEventResponse(
        container_id=digest("c"),
        container_event_type=pb.CONTAINER_STARTED_EVENT,
        created_at=3_500_000_000,
        pod_sandbox_status=pb.PodSandboxStatus(
            id=BOX, metadata=pb.PodSandboxMetadata(name="web-1", namespace="shop")
        ),
        containers_statuses=[status(image_ref=BY_DIGEST, state=pb.CONTAINER_RUNNING)],
    )
    assert translate.event(message) == ContainerEvent(
        digest("c"),
        EventKind.STARTED,
        3.5,
        Sandbox(BOX, "shop/web-1", 0.0, template=Template("shop/web-*", False)),
        (Container(digest("c"), BOX, "main", "", BY_DIGEST, "", ContainerState.RUNNING, 0.0, ()),),
    )


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_of_event_arrives_as_itself(kind: EventKind) -> None:
    """A DELETED read as CREATED would keep an image for ever; the reverse would free one."""
    message = pb.ContainerEventResponse(
        container_id="x", container_event_type=pb.ContainerEventType.Name(kind.value)
    )
    event = translate.event(message)
    assert event is not None
    assert event.kind is kind


def test_an_event_without_a_pod_has_no_sandbox() -> None:
    """containerd 1.7 sends a removed pod's DELETED so: it is not about a pod with an empty id."""
    message = pb.ContainerEventResponse(
        container_id=BOX, container_event_type=pb.CONTAINER_DELETED_EVENT
    )
    event = translate.event(message)
    assert event == ContainerEvent(BOX, EventKind.DELETED, 0.0, None, ())
    assert not event.about_sandbox


def test_a_pods_own_event_is_recognised_by_its_id() -> None:
    """Nothing but the equal ids marks it."""
    message = pb.ContainerEventResponse(
        container_id=BOX, pod_sandbox_status=pb.PodSandboxStatus(id=BOX)
    )
    event = translate.event(message)
    assert event is not None
    assert event.about_sandbox


def test_an_event_from_the_future_is_passed_over() -> None:
    """A kind that did not exist when this was written means nothing to us; listings do."""
    message = pb.ContainerEventResponse.FromString(b"\x0a\x01x\x10\x63")
    assert message.container_event_type == 99
    assert translate.event(message) is None


@pytest.mark.parametrize("tags", [["<none>:<none>"], []])
def test_what_is_listed_in_place_of_no_name_is_none(tags: list[str]) -> None:
    """Taken for names they would bring nothing back, and end what is remembered of true ones."""
    digests = ["<none>@<none>", f"<none>@sha256:{'1' * 64}"]
    image = translate.image(pb.Image(id="1" * 64, repo_tags=tags, repo_digests=digests))
    assert image.names == ()
    mixed = pb.Image(id="1" * 64, repo_tags=[*tags, "a.example/b:v1"], repo_digests=digests)
    assert translate.image(mixed).names == ("a.example/b:v1",)
