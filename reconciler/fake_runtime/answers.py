"""The node's world as CRI messages, in the forms each runtime gives them (docs/runtimes.md)."""

from __future__ import annotations

import hashlib
import json

from ..domain.inventory import EventKind
from ._pb import workload_pb2 as pb
from .node import Container, Node, Sandbox, Stored

CONTAINERD_VOLUME = "/run/containerd/io.containerd.grpc.v1.cri/image-volumes/{}/{}"
CRIO_VOLUME = "/var/lib/containers/storage/overlay/{}/merged"


def image(node: Node, stored: Stored, *, listed: bool = False) -> pb.Image:
    """As ImageStatus reports it, or as listed: in a list CRI-O makes up a digest name for an image
    that lost its names."""
    size = stored.unpacked if node.habits.crio else stored.compressed
    made_up = [stored.made_up] if listed and stored.made_up else []
    return pb.Image(
        id=node.habits.id_text(stored.hex_id),
        repo_tags=stored.tags,
        repo_digests=stored.digests or made_up,
        size=size,
        pinned=stored.pinned,
    )


def sandbox_labels(node: Node, one: Sandbox) -> dict[str, str]:
    """As the creator set them; CRI-O adds its own (measured)."""
    if not node.habits.crio:
        return one.labels
    return {
        **one.labels,
        "io.kubernetes.container.name": "POD",
        "io.kubernetes.pod.name": one.name,
        "io.kubernetes.pod.namespace": one.namespace,
        "io.kubernetes.pod.uid": one.uid,
    }


def sandbox(node: Node, one: Sandbox) -> pb.PodSandbox:
    return pb.PodSandbox(
        id=one.id,
        metadata=_metadata(one),
        state=pb.SANDBOX_READY if one.ready else pb.SANDBOX_NOTREADY,
        created_at=_ns(one.created_at),
        labels=sandbox_labels(node, one),
    )


def sandbox_status(node: Node, one: Sandbox) -> pb.PodSandboxStatus:
    return pb.PodSandboxStatus(
        id=one.id,
        metadata=_metadata(one),
        state=pb.SANDBOX_READY if one.ready else pb.SANDBOX_NOTREADY,
        created_at=_ns(one.created_at),
        labels=sandbox_labels(node, one),
    )


def sandbox_info(node: Node, one: Sandbox) -> dict[str, str]:
    """Where the pause image's name is: CRI-O keeps it in an annotation alone, since its pods
    have no infra container by default; containerd from 2.1 annotates the configured one. A
    sandboxer of its own has none, and containerd reports an empty one."""
    if node.habits.pauseless:
        info: dict[str, object] = {"image": "", "processStatus": "", "runtimeSpec": None}
    elif node.habits.crio:
        annotations = {"io.kubernetes.cri-o.ImageName": one.pause_name}
        info = {"runtimeSpec": {"annotations": annotations}}
    else:
        configured = {"io.kubernetes.cri.podsandbox.image-name": node.pause_name}
        spec = {"annotations": configured if node.habits.annotates_pause else {}}
        info = {"image": one.pause_name, "pid": 1, "runtimeSpec": spec}
    return {"info": json.dumps(info)}


def container(node: Node, one: Container) -> pb.Container:
    """As listed: containerd's image_ref is the id, CRI-O's a digest name (up to 1.29 the id)."""
    hex_id = node.habits.id_text(one.image.hex_id)
    return pb.Container(
        id=one.id,
        pod_sandbox_id=one.sandbox_id,
        metadata=pb.ContainerMetadata(name=one.name),
        image=pb.ImageSpec(image=one.asked),
        image_ref=_crio_ref(node, one) if node.habits.crio else hex_id,
        image_id=hex_id if node.habits.reports_image_id else "",
        state=_state(one),
        created_at=_ns(one.created_at),
        labels=one.labels,
    )


def container_status(node: Node, one: Container) -> pb.ContainerStatus:
    """As status and events report it: containerd gives names that the image has now, CRI-O names it
    had when the container was made, and nothing if it had none."""
    here = one.image.hex_id in node.images
    hex_id = node.habits.id_text(one.image.hex_id)
    if node.habits.crio:
        name, ref = one.named, _crio_ref(node, one)
    else:
        name = (one.image.tags if here and one.image.tags else [one.asked])[0]
        ref = one.image.digests[0] if here and one.image.digests else hex_id
    return pb.ContainerStatus(
        id=one.id,
        metadata=pb.ContainerMetadata(name=one.name),
        state=_state(one),
        created_at=_ns(one.created_at),
        started_at=_ns(one.started_at),
        finished_at=_ns(one.finished_at),
        exit_code=one.exit_code,
        image=pb.ImageSpec(image=name),
        image_ref=ref,
        image_id=hex_id if node.habits.reports_image_id else "",
        labels=one.labels,
        mounts=[_mount(node, one, number) for number in range(len(one.volumes))],
    )


def event(
    node: Node, kind: EventKind, subject_id: str, sandbox_id: str, at: float
) -> pb.ContainerEventResponse:
    """The payload is all containers of the pod now, without the deleted one. CRI-O finds
    them by the pod's uid label on the container: without it there are none."""
    sandbox = node.sandboxes.get(sandbox_id)
    inside = node.in_pod(sandbox_id)
    if node.habits.crio:
        inside = [one for one in inside if "io.kubernetes.pod.uid" in one.labels]
    return pb.ContainerEventResponse(
        container_id=subject_id,
        container_event_type=int(kind),  # type: ignore[arg-type] # same numbers, held by a test
        created_at=_ns(at),
        pod_sandbox_status=sandbox_status(node, sandbox) if sandbox else None,
        containers_statuses=[container_status(node, one) for one in inside],
    )


def image_info(node: Node, stored: Stored) -> dict[str, str]:
    diff_ids = [f"sha256:{layer.diff_id}" for layer in stored.layers]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    info: dict[str, object] = {
        "imageSpec": {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
    }
    if not node.habits.crio:
        info["chainID"] = _chain_id(diff_ids)
    return {"info": json.dumps(info)}


def _chain_id(diff_ids: list[str]) -> str:
    """The name of the snapshot that all layers make: each is hashed with those below it."""
    chain = diff_ids[0] if diff_ids else ""
    for diff_id in diff_ids[1:]:
        chain = f"sha256:{hashlib.sha256(f'{chain} {diff_id}'.encode()).hexdigest()}"
    return chain


def _crio_ref(node: Node, one: Container) -> str:
    return one.made_from if node.habits.reports_image_id else one.image.hex_id


def _mount(node: Node, one: Container, number: int) -> pb.Mount:
    """containerd gives the creator's text and ends the path in the manifest's digest; CRI-O gives
    the bare id and a layer's directory."""
    volume = one.volumes[number]
    if node.habits.crio:
        text, path = volume.image.hex_id, CRIO_VOLUME.format(volume.image.layers[-1].diff_id)
    else:
        text, path = volume.text, CONTAINERD_VOLUME.format(one.sandbox_id, volume.manifest)
    return pb.Mount(
        container_path=volume.path, host_path=path, readonly=True, image=pb.ImageSpec(image=text)
    )


def _metadata(one: Sandbox) -> pb.PodSandboxMetadata:
    return pb.PodSandboxMetadata(
        name=one.name, uid=one.uid, namespace=one.namespace, attempt=one.attempt
    )


def _state(one: Container) -> str:
    return pb.ContainerState.Name(int(one.state))


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
