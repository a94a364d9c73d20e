"""Protobuf messages -> domain values, one pure function for each. Times come in nanoseconds and
leave in seconds. Texts that repeat on a node (image ids, names) are shared; those of one pod are
not: there is no end of them. What does not make sense is read as unknown, never as an error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, cast

from ..domain.inventory import (
    LARGEST_DISK,
    Container,
    ContainerEvent,
    ContainerState,
    EventKind,
    Image,
    Sandbox,
    Volume,
)
from ..domain.runtime import ImageService, RuntimeVersion
from ..domain.templates import template_of
from ..sharing import shared
from ._pb import runtime_pb2 as pb

_STATES = {int(state): state for state in ContainerState}
_MANIFEST = re.compile(r"(?:^|/)(?:sha256:)?([0-9a-f]{64})/?$")
_PAUSE_ANNOTATIONS = (
    "io.kubernetes.cri-o.ImageName",  # CRI-O, also for pods without an infra container
    "io.kubernetes.cri.podsandbox.image-name",  # containerd from 2.1: the configured name
)


def version(message: pb.VersionResponse) -> RuntimeVersion:
    digits = re.match(r"v?(\d{1,9}(?:\.\d{1,9})*)", message.runtime_version)
    numbers = tuple(int(n) for n in digits[1].split(".")[:3]) if digits else ()
    return RuntimeVersion(message.runtime_name, message.runtime_version, numbers)


def image_service(socket: str, message: pb.VersionResponse) -> ImageService:
    return ImageService(socket, message.runtime_name, message.runtime_version)


def image(message: pb.Image) -> Image:
    return Image(
        shared(message.id),
        _names(message.repo_tags),
        _names(message.repo_digests),
        size(message),
        message.pinned,
    )


def size(message: pb.Image) -> int:
    """Bytes; 0 for a size that no disk has, as for one that is not reported."""
    return message.size if message.size <= LARGEST_DISK else 0


def _names(texts: Iterable[str]) -> tuple[str, ...]:
    """Names as listed, without the placeholder of older runtimes and cri-dockerd."""
    return tuple(shared(text) for text in texts if not text.startswith("<none>"))


def united(images: tuple[Image, ...]) -> tuple[Image, ...]:
    """Images as listed, each once. One in several entries has all of their names, is pinned if one
    of them is, and is as big as the biggest: any entry may hold the reason to keep it."""
    found: dict[str, Image] = {}
    for one in images:
        other = found.get(one.key)
        found[one.key] = one if other is None else _united(other, one)
    return images if len(found) == len(images) else tuple(found.values())


def _united(one: Image, other: Image) -> Image:
    return Image(
        one.id,
        tuple(dict.fromkeys(one.tags + other.tags)),
        tuple(dict.fromkeys(one.digests + other.digests)),
        max(one.size, other.size),
        one.pinned or other.pinned,
    )


def container(message: pb.Container) -> Container:
    """From ListContainers, which does not report `volumes`."""
    return Container(
        message.id,
        message.pod_sandbox_id,
        shared(message.metadata.name),
        shared(message.image.image),
        shared(message.image_ref),
        shared(message.image_id),
        _STATES.get(message.state, ContainerState.UNKNOWN),
        message.created_at / 1e9,
    )


def container_status(message: pb.ContainerStatus, sandbox_id: str) -> Container:
    """From ContainerStatus or an event. Its image fields have other forms than the list's."""
    return Container(
        message.id,
        sandbox_id,
        shared(message.metadata.name),
        shared(message.image.image),
        shared(message.image_ref),
        shared(message.image_id),
        _STATES.get(message.state, ContainerState.UNKNOWN),
        message.created_at / 1e9,
        volumes(message),
    )


def volumes(message: pb.ContainerStatus) -> tuple[Volume, ...]:
    """The images a container mounts. containerd reports the creator's text and ends the host path
    in the manifest's digest, CRI-O reports the bare id (our measurement, docs/runtimes.md)."""
    return tuple(
        Volume(shared(mount.image.image), _manifest_digest(mount.host_path))
        for mount in message.mounts
        if mount.HasField("image") and mount.image.image
    )


def _manifest_digest(host_path: str) -> str:
    found = _MANIFEST.search(host_path)
    return f"sha256:{found[1]}" if found else ""


def sandbox(message: pb.PodSandbox | pb.PodSandboxStatus) -> Sandbox:
    namespace, pod = message.metadata.namespace, message.metadata.name
    return Sandbox(
        message.id,
        f"{namespace}/{pod}",
        message.created_at / 1e9,
        uid=message.metadata.uid,
        ready=is_ready(message),
        template=template_of(namespace, pod, message.labels),
    )


def is_ready(message: pb.PodSandbox | pb.PodSandboxStatus) -> bool:
    """Whether a sandbox is not stopped; a state unknown to this version counts as ready."""
    return message.state != pb.SANDBOX_NOTREADY


def event(message: pb.ContainerEventResponse) -> ContainerEvent | None:
    """None for a kind of event that did not exist when this was written."""
    try:
        kind = EventKind(message.container_event_type)
    except ValueError:
        return None
    status = message.pod_sandbox_status if message.HasField("pod_sandbox_status") else None
    sandbox_id = status.id if status is not None else ""
    return ContainerEvent(
        message.container_id,
        kind,
        message.created_at / 1e9,
        sandbox(status) if status is not None else None,
        tuple(container_status(one, sandbox_id) for one in message.containers_statuses),
    )


def pause_names(info: str) -> tuple[str, ...]:
    """The names that PodSandboxStatus(verbose) reports for the pause image, from info["info"]."""
    fields = _object(info)
    annotations = _object_in(_object_in(fields, "runtimeSpec"), "annotations")
    names = (fields.get("image"), *(annotations.get(key) for key in _PAUSE_ANNOTATIONS))
    return tuple(dict.fromkeys(shared(name) for name in map(_name, names) if name))


def is_pauseless(info: str) -> bool:
    """Whether PodSandboxStatus(verbose) info["info"] says that a sandbox runs on no image, as
    containerd 2.x does for one of a sandboxer of its own (`sandboxer = "shim"`): the image's name
    is there, and empty. That is also so for a sandbox that containerd lost, which it calls deleted
    (containerd, internal/cri/server/sandbox_status.go and podsandbox/sandbox_status.go)."""
    fields = _object(info)
    lives = isinstance(fields.get("processStatus"), str) and fields["processStatus"] != "deleted"
    return lives and fields.get("image") == "" and not pause_names(info)


def configured_pause(info: str) -> str | None:
    """`sandboxImage` from Status(verbose) info["config"]; containerd 2.x has none there."""
    return _name(_object(info).get("sandboxImage"))


def _name(value: object) -> str | None:
    """An image's name from JSON. JSON can hold texts that are no name and that no log can print."""
    usable = isinstance(value, str) and value != "" and value.isascii() and value.isprintable()
    return cast("str", value) if usable else None


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _object_in(outer: dict[str, Any], key: str) -> dict[str, Any]:
    inner = outer.get(key)
    return inner if isinstance(inner, dict) else {}
