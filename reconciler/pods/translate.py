"""Messages and JSON of core/v1 -> `domain.pods`. Images repeat on a node and are shared. What
does not make sense is read as unknown, never as an error; a pod without a name is left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from google.protobuf.message import DecodeError

from ..domain.pods import EPHEMERAL, INIT, MAIN, VOLUME, Need, Pod
from ..sharing import shared
from ._pb import pods_pb2 as pb

Json = dict[str, Any]
MAGIC = b"k8s\x00"  # begins everything that the API server sends as protobuf
_FINISHED = {"Succeeded", "Failed"}


class Unreadable(Exception):
    """An answer that cannot be read; the text is for people."""


def pod(message: pb.Pod) -> Pod | None:
    """A pod and what it needs, in the order kubelet starts it; None: no uid and no name."""
    uid = uid_of(message)
    if uid is None:
        return None
    name = f"{message.metadata.namespace}/{message.metadata.name}"
    return Pod(uid, name, tuple(_needs(message.spec)), message.status.phase in _FINISHED)


def uid_of(message: pb.Pod) -> str | None:
    """What distinguishes a pod: its uid, or else namespace/name."""
    meta = message.metadata
    return meta.uid or (f"{meta.namespace}/{meta.name}" if meta.name else None)


def union(first: Pod, second: Pod) -> Pod:
    """One pod reported twice, in unknown order: it needs what either report needs, and is finished
    if either says so, for a pod that is finished stays so."""
    needs = tuple(dict.fromkeys((*first.needs, *second.needs)))
    return replace(second, needs=needs, finished=first.finished or second.finished)


def _needs(spec: pb.PodSpec) -> Iterator[Need]:
    for volume in spec.volumes:
        source = volume.volumeSource.image
        if source.reference:
            policy = shared(source.pullPolicy)
            yield Need(shared(source.reference), VOLUME, volume.name, policy)
    yield from _containers(INIT, spec.initContainers)
    yield from _containers(MAIN, spec.containers)
    ephemeral = (one.ephemeralContainerCommon for one in spec.ephemeralContainers)
    yield from _containers(EPHEMERAL, ephemeral)


def _containers(kind: str, containers: Iterable[pb.Container]) -> Iterator[Need]:
    for one in containers:
        if one.image:
            yield Need(shared(one.image), kind, shared(one.name), shared(one.imagePullPolicy))


# --- protobuf ----------------------------------------------------------------------------------


def decoded(data: bytes) -> pb.Pod | None:
    """A pod's message from its bytes; None: they are not one."""
    try:
        return pb.Pod.FromString(data)
    except DecodeError:
        return None


def pods(items: Iterable[bytes]) -> tuple[Pod, ...]:
    """All pods of a list that can be read."""
    messages = (decoded(item) for item in items)
    return _known(message for message in messages if message is not None)


def pod_list(body: bytes) -> tuple[str, tuple[Pod, ...]]:
    """The API server's answer to a list: its resourceVersion, and the pods. Raises Unreadable."""
    if not body.startswith(MAGIC):
        raise Unreadable("the answer to a list of pods is not protobuf of Kubernetes")
    try:
        found = pb.PodList.FromString(unwrapped(body))
    except DecodeError as error:
        raise Unreadable(f"the answer is not a list of pods: {error}") from error
    return found.metadata.resourceVersion, pods(found.items)


def unwrapped(raw: bytes) -> bytes:
    """What is inside the magic and runtime.Unknown; bytes without the magic are not wrapped.
    Raises DecodeError."""
    return pb.Unknown.FromString(raw[len(MAGIC) :]).raw if raw.startswith(MAGIC) else raw


def watch_event(frame: bytes) -> tuple[str, pb.Pod | pb.Status]:
    """One frame of a watch: what happened, and to which pod; for ERROR what went wrong. Raises
    Unreadable."""
    try:
        event = pb.WatchEvent.FromString(unwrapped(frame))
        inside = unwrapped(event.object.raw)
        if event.type == "ERROR":
            return event.type, pb.Status.FromString(inside)
        return event.type, pb.Pod.FromString(inside)
    except DecodeError as error:
        raise Unreadable(f"a frame of the watch is not an event: {error}") from error


# --- JSON --------------------------------------------------------------------------------------


def json_pods(body: bytes) -> tuple[Pod, ...]:
    """All pods of a PodList in JSON. Raises Unreadable."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the answer is not JSON: {error}") from error
    items = document.get("items") if isinstance(document, dict) else ()
    if not isinstance(document, dict) or document.get("kind") not in {"PodList", "List"}:
        raise Unreadable("the answer is not a list of pods")
    messages = (json_pod(item) for item in (items if isinstance(items, list) else ()))
    return _known(message for message in messages if message is not None)


def json_pod(document: object) -> pb.Pod | None:
    """A pod's message from its JSON, in which the common part of an ephemeral container and a
    volume's source are inline; None: it is not one. Does what json_format would, in less time,
    since most of a pod is not looked at."""
    try:
        (pod,) = _objects([document])
        spec, status = _object(pod, "spec"), _object(pod, "status")
        return pb.Pod(
            metadata=_texts(_object(pod, "metadata"), _META),
            spec=pb.PodSpec(
                volumes=map(_volume, _objects(spec.get("volumes"))),
                initContainers=map(_container, _objects(spec.get("initContainers"))),
                containers=map(_container, _objects(spec.get("containers"))),
                ephemeralContainers=(
                    pb.EphemeralContainer(ephemeralContainerCommon=_container(one))
                    for one in _objects(spec.get("ephemeralContainers"))
                ),
            ),
            status=_texts(status, ("phase",)),
        )
    except (TypeError, ValueError):  # also for a text with half a character in it
        return None


_META = ("name", "namespace", "uid", "resourceVersion")


def _container(document: Json) -> pb.Container:
    return pb.Container(**_texts(document, ("name", "image", "imagePullPolicy")))


def _volume(document: Json) -> pb.Volume:
    image = _texts(_object(document, "image"), ("reference", "pullPolicy"))
    source = pb.VolumeSource(image=image) if image else None
    return pb.Volume(**_texts(document, ("name",)), volumeSource=source)


def _object(document: Json, key: str) -> Json:
    (found,) = _objects([document.get(key) or {}])
    return found


def _objects(value: object) -> list[Json]:
    """A list of JSON objects, empty for None. Raises TypeError."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise TypeError("not a list of objects")
    return value


def _texts(document: Json, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: document[name] for name in names if document.get(name) is not None}


def _known(messages: Iterable[pb.Pod]) -> tuple[Pod, ...]:
    """Each pod once."""
    found: dict[str, Pod] = {}
    for message in messages:
        one = pod(message)
        if one is not None:
            found[one.uid] = union(found[one.uid], one) if one.uid in found else one
    return tuple(found.values())
