"""What is read of pods has Kubernetes' numbers and names: written down here a second time, from
kubernetes/api core/v1/generated.proto, apimachinery's, and kubelet's pods/v1alpha1/api.proto."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from reconciler.pods import socket
from reconciler.pods._pb import pods_pb2 as pb

FIELDS = {
    "Pod": {"metadata": 1, "spec": 2, "status": 3},
    "ObjectMeta": {"name": 1, "namespace": 3, "uid": 5, "resourceVersion": 6},
    "PodSpec": {"volumes": 1, "containers": 2, "initContainers": 20, "ephemeralContainers": 34},
    "Container": {"name": 1, "image": 2, "imagePullPolicy": 14},
    "EphemeralContainer": {"ephemeralContainerCommon": 1},
    "Volume": {"name": 1, "volumeSource": 2},
    "VolumeSource": {"image": 30},
    "ImageVolumeSource": {"reference": 1, "pullPolicy": 2},
    "PodStatus": {"phase": 1},
    "PodList": {"metadata": 1, "items": 2},
    "ListMeta": {"resourceVersion": 2},
    "Status": {"message": 3, "code": 6},
    "WatchEvent": {"type": 1, "object": 2},
    "RawExtension": {"raw": 1},
    "Unknown": {"raw": 2},
    "ListPodsRequest": {},
    "ListPodsResponse": {"pods": 1},
    "WatchPodsRequest": {},
    "WatchPodsEvent": {"type": 1, "pod": 2},
}
LISTS = {"volumes", "containers", "initContainers", "ephemeralContainers", "items", "pods"}
BYTES = {"items", "pods", "pod", "raw"}


def messages() -> dict[str, Any]:
    return dict(pb.DESCRIPTOR.message_types_by_name)


def test_every_field_has_kubernetes_number_and_name() -> None:
    """A wrong number reads an annotation as an image; a wrong name reads nothing from JSON."""
    ours = {
        name: {field.json_name: field.number for field in message.fields}
        for name, message in messages().items()
    }
    assert ours == FIELDS


def test_every_field_has_its_kind() -> None:
    """A list read as one value has the last container's image alone."""
    for message in messages().values():
        for field in message.fields:
            assert field.is_repeated is (field.name in LISTS), field.full_name
            if field.name in BYTES and message.name != "Status":
                assert field.type == FieldDescriptor.TYPE_BYTES, field.full_name


def test_what_happened_is_numbered_as_by_kubelet() -> None:
    """A deletion taken for a change would keep images for good, the other way round free them."""
    assert dict(pb.EventType.items()) == {
        "UNSPECIFIED": 0,
        "ADDED": 1,
        "MODIFIED": 2,
        "DELETED": 3,
        "INITIAL_SYNC_COMPLETE": 4,
    }


class Dialled:
    """Replaces a channel and notes each path."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def unary_unary(self, path: str, *codecs: object) -> None:
        self.paths.append(path)

    def unary_stream(self, path: str, *codecs: object) -> None:
        self.paths.append(f"{path} (stream)")


def test_kubelet_is_asked_for_pods_and_for_nothing_else() -> None:
    """What is not in our protocol cannot be sent, not even by a mistake."""
    (service,) = pb.DESCRIPTOR.services_by_name.values()
    dialled: Any = Dialled()
    for method in service.methods:
        socket._method(dialled, "v1alpha1", method.name)
    assert dialled.paths == ["/v1alpha1.Pods/ListPods", "/v1alpha1.Pods/WatchPods (stream)"]
