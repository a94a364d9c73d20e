"""The runtime's lists: all images, containers and sandboxes, decoded and translated.

They come over `Stream*` where the runtime has it (containerd 2.4, CRI-O 1.36), else in one message
of up to 80 MiB, and are translated in steps that yield.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from google.protobuf.message import DecodeError

from ..aiokit import run_in_steps
from ..domain.inventory import Container, Image, Sandbox
from ..domain.runtime import RuntimeRefused
from . import translate
from ._pb import runtime_pb2 as pb
from .failures import translated_errors, unreadable
from .rpc import Methods, asked

STEP = 400  # values translated before the loop gets a turn
UNARY = {
    "Images": "ListImages",
    "Containers": "ListContainers",
    "PodSandboxes": "ListPodSandbox",  # the protocol's name for it
}
REQUESTS: dict[str, Any] = {
    "ListImages": pb.ListImagesRequest,
    "ListContainers": pb.ListContainersRequest,
    "ListPodSandbox": pb.ListPodSandboxRequest,
    "StreamImages": pb.StreamImagesRequest,
    "StreamContainers": pb.StreamContainersRequest,
    "StreamPodSandboxes": pb.StreamPodSandboxesRequest,
}

T = TypeVar("T")


class Lists:
    """What did not change since the last listing is returned as the same value again: listings
    repeat, and most of a node stays as it was. `events_read` counts the events read so far. All
    raise RuntimeUnavailable and RuntimeRefused; `methods` are the service's, `path` its socket."""

    def __init__(self, deadline: float, events_read: Callable[[], int]) -> None:
        self._deadline, self._events_read = deadline, events_read
        self.streams: bool | None = None  # whether Stream* exist; None: not tried
        self._images: dict[str, Image] = {}
        self._containers: dict[str, Container] = {}
        self._sandboxes: dict[str, Sandbox] = {}

    async def images(self, methods: Methods, path: str) -> tuple[Image, ...]:
        """All images, each once even if it is listed twice."""
        one = _unless_known(self._images, _same_image, translate.image)
        images = await self._in_steps(methods, path, "Images", pb.Image, one)
        self._images = {image.id: image for image in images}
        return translate.united(images)

    async def containers(self, methods: Methods, path: str) -> tuple[Container, ...]:
        """All containers, in any state."""
        one = _unless_known(self._containers, _same, translate.container)
        containers = await self._in_steps(methods, path, "Containers", pb.Container, one)
        self._containers = {container.id: container for container in containers}
        return containers

    async def sandboxes(self, methods: Methods, path: str) -> tuple[Sandbox, ...]:
        """All sandboxes."""

        def one(message: pb.PodSandbox) -> Sandbox:
            before, ready = self._sandboxes.get(message.id), translate.is_ready(message)
            same = before is not None and before.created_at == message.created_at / 1e9
            if before is None or not same:
                return translate.sandbox(message)
            return before if before.ready == ready else replace(before, ready=ready)

        sandboxes = await self._in_steps(methods, path, "PodSandboxes", pb.PodSandbox, one)
        self._sandboxes = {sandbox.id: sandbox for sandbox in sandboxes}
        return sandboxes

    async def _in_steps(
        self, methods: Methods, path: str, what: str, kind: Any, translated: Callable[[Any], T]
    ) -> tuple[T, ...]:
        """Decodes and translates one list, item by item, and yields in between, above all to our
        own reader of events."""
        items = await self._listed(methods, path, what)

        def decoded() -> Generator[None, None, tuple[T, ...]]:
            values: list[T] = []
            for count, item in enumerate(items, 1):
                try:
                    message = kind.FromString(item)
                except DecodeError as error:
                    raise unreadable(f"the list of {what}", path) from error
                values.append(translated(message))
                if count % STEP == 0:
                    yield
            return tuple(values)

        return await run_in_steps(decoded(), self._events_read)

    async def _listed(self, methods: Methods, path: str, what: str) -> Iterable[bytes]:
        """All items of one list, streamed where the runtime can."""
        if self.streams is not False:
            try:
                found = await self._streamed(methods, path, what)
            except RuntimeRefused as refused:
                if refused.code != "UNIMPLEMENTED":
                    raise
                self.streams = False
            else:
                self.streams = True
                return found
        unary = UNARY[what]
        request = REQUESTS[unary]()
        answer = await asked(methods, path, unary, request, self._deadline)
        return cast("Iterable[bytes]", answer.items)

    async def _streamed(self, methods: Methods, path: str, what: str) -> list[bytes]:
        name = f"Stream{what}"
        items: list[bytes] = []
        with translated_errors(name, path):
            async for batch in methods[name](REQUESTS[name](), timeout=self._deadline):
                if batch is None:
                    raise unreadable(name, path)
                items.extend(batch.items)
        return items


def _unless_known(
    known: Mapping[str, T], same: Callable[[T, Any], bool], translated: Callable[[Any], T]
) -> Callable[[Any], T]:
    """Translates a listed item unless it is the same as the value known by its id: then that."""

    def one(message: Any) -> T:
        before = known.get(message.id)
        return before if before is not None and same(before, message) else translated(message)

    return one


def _same(known: Container, message: pb.Container) -> bool:
    """Whether a listed container equals the value we have. For one id only its state changes, and
    the form of its image once another version or another runtime answers."""
    return (
        int(known.state) == message.state
        and known.created_at == message.created_at / 1e9
        and known.image_ref == message.image_ref
        and known.image_id == message.image_id
    )


def _same_image(known: Image, message: pb.Image) -> bool:
    return (
        known.size == translate.size(message)
        and known.pinned == message.pinned
        and known.tags == tuple(message.repo_tags)
        and known.digests == tuple(message.repo_digests)
    )
