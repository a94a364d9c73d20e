"""The messages of a prepared node, as of containerd 2.1: images, pods, containers, events."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

from reconciler.fake_runtime._pb import workload_pb2 as pb

PER_POD = 2  # containers in a pod
SIZE = 50 << 20  # bytes of an image, as listed
ANNOTATIONS = {
    "io.kubernetes.container.hash": "6e8336ec",
    "io.kubernetes.container.restartCount": "0",
    "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
    "io.kubernetes.container.terminationMessagePolicy": "File",
    "io.kubernetes.pod.terminationGracePeriod": "30",
}


def hexadecimal(what: str, number: int) -> str:
    """64 digits that are always the same for one thing."""
    return hashlib.sha256(f"{what} {number}".encode()).hexdigest()


def image(number: int) -> pb.Image:
    name = f"registry.example.com/team-{number % 20}/service-{number}"
    return pb.Image(
        id=f"sha256:{hexadecimal('image', number)}",
        repo_tags=[f"{name}:v1.{number}"],
        repo_digests=[f"{name}@sha256:{hexadecimal('manifest', number)}"],
        size=SIZE,
        spec=pb.ImageSpec(image=""),
        pinned=False,
    )


def pause() -> pb.Image:
    name = "registry.k8s.io/pause"
    return pb.Image(
        id=f"sha256:{hexadecimal('pause', 0)}",
        repo_tags=[f"{name}:3.10"],
        repo_digests=[f"{name}@sha256:{hexadecimal('pause manifest', 0)}"],
        size=320_000,
        pinned=True,
    )


def labels(pod: int, uid: str) -> dict[str, str]:
    """What kubelet puts on a pod's sandbox and containers."""
    return {
        "io.kubernetes.pod.name": f"service-{pod}-5d4f8c7b9-x2x{pod}",
        "io.kubernetes.pod.namespace": f"team-{pod % 20}",
        "io.kubernetes.pod.uid": uid,
    }


def sandbox(pod: int, at: int) -> pb.PodSandbox:
    uid = hexadecimal("uid", pod)[:36]
    pod_labels = labels(pod, uid)
    return pb.PodSandbox(
        id=hexadecimal("sandbox", pod),
        metadata=pb.PodSandboxMetadata(
            name=pod_labels["io.kubernetes.pod.name"],
            uid=uid,
            namespace=pod_labels["io.kubernetes.pod.namespace"],
        ),
        created_at=at,
        labels=pod_labels,
        annotations={"kubernetes.io/config.source": "api"},
    )


def container(number: int, images: int, at: int) -> pb.Container:
    """As containerd 2.1 lists it: `image_ref` is the image's id."""
    pod = number // PER_POD
    used = image(number % images)
    return pb.Container(
        id=hexadecimal("container", number),
        pod_sandbox_id=hexadecimal("sandbox", pod),
        metadata=pb.ContainerMetadata(name=f"main-{number % PER_POD}"),
        image=pb.ImageSpec(image=used.repo_tags[0], user_specified_image=used.repo_tags[0]),
        image_ref=used.id,
        state=pb.CONTAINER_RUNNING,
        created_at=at,
        labels=labels(pod, hexadecimal("uid", pod)[:36]),
        annotations=ANNOTATIONS,
    )


def pod_events(pod: int, images: int) -> Iterator[pb.ContainerEventResponse]:
    """The life of a pod with one container, as containerd 2.1 reports it."""
    uid = hexadecimal("uid", pod)[:36]
    pod_labels = labels(pod, uid)
    used = image(pod % images)
    at = time.time_ns()
    box = pb.PodSandboxStatus(
        id=hexadecimal("sandbox", pod),
        metadata=pb.PodSandboxMetadata(name=pod_labels["io.kubernetes.pod.name"], uid=uid),
        created_at=at,
        labels=pod_labels,
    )
    inside = pb.ContainerStatus(
        id=hexadecimal("container", pod * PER_POD),
        metadata=pb.ContainerMetadata(name="main"),
        created_at=at,
        image=pb.ImageSpec(image=used.repo_tags[0]),
        image_ref=used.repo_digests[0],
        labels=pod_labels,
        annotations=ANNOTATIONS,
        mounts=[
            pb.Mount(container_path="/etc/hosts", host_path="/var/lib/kubelet/pods/etc-hosts"),
            pb.Mount(container_path="/dev/termination-log", host_path="/var/lib/kubelet/pods/log"),
        ],
    )
    created, started, stopped, deleted = range(4)
    for subject, kind, state, present in (
        (box.id, created, None, False),
        (box.id, started, None, False),
        (inside.id, created, pb.CONTAINER_CREATED, True),
        (inside.id, started, pb.CONTAINER_RUNNING, True),
        (inside.id, stopped, pb.CONTAINER_EXITED, True),
        (box.id, stopped, pb.CONTAINER_EXITED, True),
        (inside.id, deleted, None, False),
        (box.id, deleted, None, False),
    ):
        if state is not None:
            inside.state = state
        yield pb.ContainerEventResponse(
            container_id=subject,
            container_event_type=kind,  # type: ignore[arg-type] # the enum's own numbers
            created_at=time.time_ns(),
            pod_sandbox_status=box,
            containers_statuses=[inside] if present else [],
        )
