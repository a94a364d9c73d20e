"""A pod's every image is a need, whether it comes as protobuf or as JSON; nonsense is unknown."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.pods import Need, Pod
from reconciler.pods import translate
from reconciler.pods._pb import pods_pb2 as pb

JSON: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "train",
        "namespace": "ml",
        "uid": "3f2a",
        "resourceVersion": "812",
        "creationTimestamp": "2027-01-15T08:00:05Z",
        "ownerReferences": [{"kind": "Job", "controller": True}],
    },
    "spec": {
        "nodeName": "node-7",
        "volumes": [
            {"name": "cache", "emptyDir": {}},
            {"name": "models", "image": {"reference": "reg.example/m:1", "pullPolicy": "Never"}},
        ],
        "initContainers": [
            {"name": "wait", "image": "reg.example/wait:1", "imagePullPolicy": "IfNotPresent"},
            {"name": "mesh", "image": "reg.example/mesh:1", "restartPolicy": "Always"},
        ],
        "containers": [
            {"name": "app", "image": "train", "imagePullPolicy": "Always", "ports": [{"a": 1}]},
            {"name": "later", "image": ""},
            {"name": "unset"},
        ],
        "ephemeralContainers": [
            {"name": "debug", "image": "busybox", "targetContainerName": "app"}
        ],
    },
    "status": {"phase": "Pending", "qosClass": "BestEffort"},
}
NEEDS = (
    Need("reg.example/m:1", "image volume", "models", "Never"),
    Need("reg.example/wait:1", "init container", "wait", "IfNotPresent"),
    Need("reg.example/mesh:1", "init container", "mesh"),
    Need("train", "container", "app", "Always"),
    Need("busybox", "ephemeral container", "debug"),
)


def message() -> pb.Pod:
    found = translate.json_pod(JSON)
    assert found is not None
    return found


def test_every_image_of_a_pod_is_a_need() -> None:
    """The main container's image must stay while an init container runs, and so must the others."""
    assert translate.pod(message()) == Pod("3f2a", "ml/train", NEEDS)


def test_json_and_protobuf_are_read_alike() -> None:
    """Two sources that disagree on one pod would make its images come and go."""
    by_hand = pb.Pod(
        metadata=pb.ObjectMeta(name="train", namespace="ml", uid="3f2a", resourceVersion="812"),
        spec=pb.PodSpec(
            volumes=[
                pb.Volume(name="cache"),
                pb.Volume(
                    name="models",
                    volumeSource=pb.VolumeSource(
                        image=pb.ImageVolumeSource(reference="reg.example/m:1", pullPolicy="Never")
                    ),
                ),
            ],
            initContainers=[
                pb.Container(
                    name="wait", image="reg.example/wait:1", imagePullPolicy="IfNotPresent"
                ),
                pb.Container(name="mesh", image="reg.example/mesh:1"),
            ],
            containers=[
                pb.Container(name="app", image="train", imagePullPolicy="Always"),
                pb.Container(name="later"),
                pb.Container(name="unset"),
            ],
            ephemeralContainers=[
                pb.EphemeralContainer(
                    ephemeralContainerCommon=pb.Container(name="debug", image="busybox")
                )
            ],
        ),
        status=pb.PodStatus(phase="Pending"),
    )
    assert json_format.MessageToDict(by_hand) == json_format.MessageToDict(message())
    again = translate.decoded(by_hand.SerializeToString())
    assert again is not None
    assert translate.pod(again) == translate.pod(message())


@pytest.mark.parametrize(
    ("phase", "finished"),
    [("Pending", False), ("Running", False), ("Succeeded", True), ("Failed", True),
     ("Unknown", False), ("", False), ("Rumoured", False)],
)  # fmt: skip
def test_only_a_pod_that_ended_is_finished(phase: str, finished: bool) -> None:
    """A phase that nobody knows is no reason to forget what the pod needs."""
    found = translate.pod(pb.Pod(metadata=pb.ObjectMeta(uid="1"), status=pb.PodStatus(phase=phase)))
    assert found is not None
    assert found.finished is finished


def test_a_pod_without_a_uid_goes_by_its_name() -> None:
    """And one without either is left out: it could never be reported gone."""
    named = pb.Pod(metadata=pb.ObjectMeta(name="a", namespace="b"))
    assert translate.uid_of(named) == "b/a"
    assert translate.pod(pb.Pod()) is None


@pytest.mark.parametrize(
    "malformed",
    [None, 5, "pod", [], {}, {"metadata": 5}, {"metadata": {"uid": []}},
     {"metadata": {"uid": "1"}, "spec": 5},
     {"metadata": {"uid": "1"}, "status": [1]},
     {"metadata": {"uid": "1\ud800"}},
     {"metadata": {"uid": "1"}, "spec": {"containers": [{"image": 5}]}},
     {"metadata": {"uid": "1"}, "spec": {"containers": 5}},
     {"metadata": {"uid": "1"}, "spec": {"initContainers": [None]}},
     {"metadata": {"uid": "1"}, "spec": {"volumes": [{"image": 5}]}},
     {"metadata": {"uid": "1"}, "spec": {"ephemeralContainers": {"a": 1}}}],
)  # fmt: skip
def test_a_malformed_pod_does_not_hide_the_others(malformed: object) -> None:
    """One that can't be read must not hide all; nor is half of its needs taken for all of them."""
    body = json.dumps({"kind": "PodList", "items": [malformed, JSON]}).encode()
    assert [one.uid for one in translate.json_pods(body)] == ["3f2a"]


def test_the_names_of_json_are_kubernetes_own() -> None:
    """protobuf's own reader of JSON finds the same, where nothing is inline."""
    plain = JSON | {"spec": {key: JSON["spec"][key] for key in ("initContainers", "containers")}}
    by_library = json_format.Parse(json.dumps(plain), pb.Pod(), ignore_unknown_fields=True)
    assert by_library == translate.json_pod(plain)


def test_a_pod_that_is_listed_twice_is_one() -> None:
    """With what either needs."""
    first, second = (
        pb.Pod(
            metadata=pb.ObjectMeta(uid="1"), spec=pb.PodSpec(containers=[pb.Container(image=image)])
        ).SerializeToString()
        for image in ("a", "b")
    )
    (found,) = translate.pods([first, second, b"\xff\xff"])
    assert [need.image for need in found.needs] == ["a", "b"]


@given(st.binary(max_size=200))
def test_no_bytes_break_the_readers(data: bytes) -> None:
    """No matter what is behind an address, the daemon continues."""
    translate.pods([data])
    readers: tuple[Callable[[bytes], object], ...] = (
        translate.pod_list,
        translate.watch_event,
        translate.json_pods,
    )
    for reader in readers:
        for body in (data, translate.MAGIC + data):
            with contextlib.suppress(translate.Unreadable):
                reader(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["metadata", "spec", "status", "name", "uid", "containers", "image",
                         "volumes", "ephemeralContainers", "phase", "imagePullPolicy"]),
        inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(json_values)
def test_no_json_breaks_the_reader(value: object) -> None:
    """Nor does anything in the answer stop it."""
    found = translate.json_pod(value)
    if found is not None:
        translate.pod(found)
