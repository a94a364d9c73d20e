"""Texts that repeat on a node are held once, and those that are gone are not held at all."""

from __future__ import annotations

from reconciler.cri import translate
from reconciler.cri._pb import runtime_pb2 as pb
from reconciler.sharing import Shared, shared


def event(pod: int) -> pb.ContainerEventResponse:
    """A container of a pod of its own was made, as most pods are: from an image of many."""
    box = pb.PodSandboxStatus(id=f"{pod:064x}", created_at=1 + pod)
    box.metadata.name, box.metadata.namespace = f"job-{pod:08d}", "default"
    made = pb.ContainerStatus(id=f"{pod:063x}c", image_ref=f"sha256:{pod % 7:064x}")
    made.metadata.name, made.image.image = "main", f"reg.example/app:v{pod % 7}"
    told = pb.ContainerEventResponse(container_id=made.id, pod_sandbox_status=box)
    told.containers_statuses.append(made)
    return told


def test_what_a_thousand_containers_say_alike_is_one_text() -> None:
    """On a node of 5,000 containers the image's names alone would be megabytes."""
    first, second = (translate.event(event(pod)) for pod in (7, 14))
    assert first is not None
    assert second is not None
    (one,), (other,) = first.containers, second.containers
    assert one.image is other.image
    assert one.image_ref is other.image_ref
    assert one.name is other.name


def test_pods_that_come_and_go_leave_nothing() -> None:
    """Interned, their ids and names stayed for good on Python 3.12: 122 MiB in 500,000 pods."""
    for pod in range(100):
        translate.event(event(pod))
    before = len(shared)
    for pod in range(100, 5_000):
        translate.event(event(pod))
    assert len(shared) == before


def test_names_without_an_end_do_not_fill_it() -> None:
    """A tag for every build: full, it begins anew, and what is asked for goes on to be shared."""
    few = Shared(most=10)
    for build in range(95):
        few(f"reg.example/app:build-{build}")
        assert len(few) <= 10
    text = "".join(["reg.example/", "app:v1"])
    assert few(text) is few("".join(["reg.example/", "app:v1"])) is text
