"""`CriClient`: a container runtime over its socket, as `domain.runtime.ImageRuntime`.

Deadlines are gRPC's own: a cancel scope around a unary call of grpc.aio leaks a bare CancelledError
(docs/architecture.md). Big nodes are listed over `Stream*` where the runtime has them (containerd
2.4, CRI-O 1.36), else in one message of up to 80 MiB, and translated in slices that yield.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc.aio
from google.protobuf.message import DecodeError

from ..aiokit import both, in_slices
from ..domain.inventory import (
    Container,
    ContainerEvent,
    Image,
    Listing,
    Sandbox,
    Volume,
    is_full_id,
)
from ..domain.runtime import ImageService, RuntimeRefused, RuntimeVersion
from ..host.clock import SteadyClock
from . import translate
from ._pb import runtime_pb2 as pb
from .failures import told, unreadable
from .rpc import Methods, answered, open_channel
from .strangers import Strangers

LIST_DEADLINE = 120.0  # seconds, as kubelet's runtimeRequestTimeout
STATUS_DEADLINE = 10.0
REMOVE_DEADLINE = 600.0  # a removal cut short may leave records behind: give it all the time
SLICE = 400  # values translated before the loop gets its turn

T = TypeVar("T")


class CriClient:
    """One runtime. What did not change since the last listing is handed out as the same value
    again: listings repeat, and most of a node stays as it was. `clock` stamps listings; a wall
    clock set back by a day would make a new image a day old."""

    def __init__(
        self,
        runtime_path: str,
        image_path: str,
        patience: float | None = None,
        clock: Callable[[], float] | None = None,
        connect: Callable[[str], grpc.aio.Channel] = open_channel,
    ) -> None:
        self._path, self._image_path = runtime_path, image_path
        self._deadline = patience or STATUS_DEADLINE
        self._list_deadline = patience or LIST_DEADLINE
        self.clock = clock or SteadyClock()
        self._channels = [connect(path) for path in dict.fromkeys((runtime_path, image_path))]
        self._runtime = Methods(self._channels[0], "RuntimeService")
        self._images = Methods(self._channels[-1], "ImageService")
        self._streams: bool | None = None  # whether Stream* exist; None: not tried
        self._strangers = Strangers(self._channels[0], runtime_path)
        self._version: RuntimeVersion | None = None
        self._heard = 0  # events read
        self._known_images: dict[str, Image] = {}
        self._containers: dict[str, Container] = {}
        self._sandboxes: dict[str, Sandbox] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close(None)

    # --- questions -----------------------------------------------------------------------------

    async def version(self) -> RuntimeVersion:
        self._streams = None  # another version may answer by now
        told = translate.version(await self._ask("Version", pb.VersionRequest()))
        if told != self._version:
            self._version, self._strangers.told = told, True
        if len(self._channels) == 1:
            return told
        return replace(told, images=await self._image_service())

    async def list_all(self) -> Listing:
        began = self.clock()
        images = await self._list_images()
        # Images first: what is made from now on, of an image not in the list, puts none at risk.
        containers, sandboxes = await both(self._list_containers, self._list_sandboxes)
        strangers = await self._strangers.listed(self._list_deadline)
        return Listing(began, self.clock(), images, containers, sandboxes, strangers)

    async def volumes_of(self, container_id: str) -> tuple[Volume, ...]:
        request = pb.ContainerStatusRequest(container_id=container_id)
        answer = await self._ask("ContainerStatus", request)
        return translate.volumes(answer.status)

    async def pause_of(self, sandbox_id: str) -> tuple[str, ...] | None:
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=True)
        answer = await self._ask("PodSandboxStatus", request)
        info = answer.info.get("info", "")
        return None if translate.is_pauseless(info) else translate.pause_names(info)

    async def configured_pause(self) -> str | None:
        answer = await self._ask("Status", pb.StatusRequest(verbose=True))
        return translate.configured_pause(answer.info.get("config", ""))

    async def image_mountpoints(self) -> tuple[str, ...]:
        answer = await self._ask_images("ImageFsInfo", pb.ImageFsInfoRequest(), self._deadline)
        # Only image filesystems: a separate container filesystem is not what images fill.
        named = (fs.fs_id.mountpoint for fs in answer.image_filesystems)
        return tuple(dict.fromkeys(mountpoint for mountpoint in named if mountpoint))

    async def remove_image(self, image_id: str) -> None:
        if not is_full_id(image_id):
            raise ValueError(f"only a full image id may be removed, not {image_id!r}")
        request = pb.RemoveImageRequest(image=pb.ImageSpec(image=image_id))
        await self._ask_images("RemoveImage", request, REMOVE_DEADLINE)

    async def container_events(self) -> AsyncIterator[ContainerEvent]:
        """Until the stream ends. Raises EventsUnsupported or RuntimeUnavailable."""
        call = self._runtime["GetContainerEvents"](pb.GetEventsRequest())
        try:
            with told("GetContainerEvents", self._path):
                async for message in call:
                    if message is None:
                        raise unreadable("GetContainerEvents", self._path)
                    self._heard += 1
                    event = translate.event(message)
                    if event is not None:
                        yield event
        finally:
            call.cancel()

    # --- lists ---------------------------------------------------------------------------------

    async def _list_images(self) -> tuple[Image, ...]:
        def one(message: pb.Image) -> Image:
            before = self._known_images.get(message.id)
            if before is not None and _same_image(before, message):
                return before
            return translate.image(message)

        images = await self._sliced("Images", pb.Image, one)
        self._known_images = {image.id: image for image in images}
        return translate.united(images)

    async def _list_containers(self) -> tuple[Container, ...]:
        def one(message: pb.Container) -> Container:
            before = self._containers.get(message.id)
            if before is not None and _same(before, message):
                return before
            return translate.container(message)

        containers = await self._sliced("Containers", pb.Container, one)
        self._containers = {container.id: container for container in containers}
        return containers

    async def _list_sandboxes(self) -> tuple[Sandbox, ...]:
        def one(message: pb.PodSandbox) -> Sandbox:
            before, ready = self._sandboxes.get(message.id), translate.is_ready(message)
            same = before is not None and before.created_at == message.created_at / 1e9
            if before is None or not same:
                return translate.sandbox(message)
            return before if before.ready == ready else replace(before, ready=ready)

        sandboxes = await self._sliced("PodSandboxes", pb.PodSandbox, one)
        self._sandboxes = {sandbox.id: sandbox for sandbox in sandboxes}
        return sandboxes

    async def _sliced(self, what: str, kind: Any, translated: Callable[[Any], T]) -> tuple[T, ...]:
        """Decodes and translates one list, item by item, and gives way in between, above all to
        our own reader of events."""
        items = await self._listed(what)

        def decoded() -> Generator[None, None, tuple[T, ...]]:
            values: list[T] = []
            for count, item in enumerate(items, 1):
                try:
                    message = kind.FromString(item)
                except DecodeError as error:
                    raise unreadable(f"the list of {what}", self._where(what)[1]) from error
                values.append(translated(message))
                if count % SLICE == 0:
                    yield
            return tuple(values)

        return await in_slices(decoded(), lambda: self._heard)

    async def _listed(self, what: str) -> Iterable[bytes]:
        """All items of one list, streamed where the runtime can."""
        methods, path = self._where(what)
        if self._streams is not False:
            try:
                found = await self._streamed(methods, path, what)
            except RuntimeRefused as refused:
                if refused.code != "UNIMPLEMENTED":
                    raise
                self._streams = False
            else:
                self._streams = True
                return found
        unary = _UNARY[what]
        request = _REQUESTS[unary]()
        answer = await self._asked(methods, path, unary, request, self._list_deadline)
        return cast("Iterable[bytes]", answer.items)

    async def _streamed(self, methods: Methods, path: str, what: str) -> list[bytes]:
        name = f"Stream{what}"
        items: list[bytes] = []
        with told(name, path):
            async for batch in methods[name](_REQUESTS[name](), timeout=self._list_deadline):
                if batch is None:
                    raise unreadable(name, path)
                items.extend(batch.items)
        return items

    def _where(self, what: str) -> tuple[Methods, str]:
        """Who lists it, and the socket."""
        if what == "Images":
            return self._images, self._image_path
        return self._runtime, self._path

    async def _image_service(self) -> ImageService:
        """Who answers at the images' own socket; a stale setting may lead to another runtime."""
        ask = Methods(self._channels[-1], "RuntimeService")["Version"]
        with told("Version", self._image_path):
            try:
                answer = await answered(ask(pb.VersionRequest(), timeout=self._deadline))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    raise
                return ImageService(self._image_path)
        if answer is None:
            raise unreadable("Version", self._image_path)
        return translate.image_service(self._image_path, answer)

    # --- calls ---------------------------------------------------------------------------------

    async def _ask(self, method: str, request: Any) -> Any:
        return await self._asked(self._runtime, self._path, method, request, self._deadline)

    async def _ask_images(self, method: str, request: Any, deadline: float) -> Any:
        return await self._asked(self._images, self._image_path, method, request, deadline)

    async def _asked(
        self, methods: Methods, path: str, method: str, request: Any, deadline: float
    ) -> Any:
        with told(method, path):
            answer = await answered(methods[method](request, timeout=deadline))
        if answer is None:
            raise unreadable(method, path)
        return answer


_UNARY = {
    "Images": "ListImages",
    "Containers": "ListContainers",
    "PodSandboxes": "ListPodSandbox",  # so the protocol names it
}
_REQUESTS: dict[str, Any] = {
    "ListImages": pb.ListImagesRequest,
    "ListContainers": pb.ListContainersRequest,
    "ListPodSandbox": pb.ListPodSandboxRequest,
    "StreamImages": pb.StreamImagesRequest,
    "StreamContainers": pb.StreamContainersRequest,
    "StreamPodSandboxes": pb.StreamPodSandboxesRequest,
}


def _same(known: Container, message: pb.Container) -> bool:
    """Whether a listed container is the value we have. For one id only its state changes, and the
    form of its image when another version or another runtime has come to answer."""
    return (
        int(known.state) == message.state
        and known.created_at == message.created_at / 1e9
        and known.image_ref == message.image_ref
        and known.image_id == message.image_id
    )


def _same_image(known: Image, message: pb.Image) -> bool:
    return (
        known.size == message.size
        and known.pinned == message.pinned
        and known.tags == tuple(message.repo_tags)
        and known.digests == tuple(message.repo_digests)
    )


def socket_path(endpoint: str) -> str:
    """The path in `unix:///run/x.sock`, `unix:/run/x.sock` or `/run/x.sock`. Raises ValueError."""
    path = endpoint.removeprefix("unix://").removeprefix("unix:")
    if not path.startswith("/"):
        raise ValueError(f"expected unix:///PATH or an absolute path, found {endpoint!r}")
    return path


def open_client(
    runtime_endpoint: str,
    image_endpoint: str | None = None,
    patience: float | None = None,
    clock: Callable[[], float] | None = None,
) -> CriClient:
    """A client for endpoints as crictl takes them. `patience`: seconds that any question may
    take, for commands that run once; else minutes for lists. Raises ValueError for a bad one."""
    path = socket_path(runtime_endpoint)
    image_path = socket_path(image_endpoint) if image_endpoint else path
    if os.path.realpath(image_path) == os.path.realpath(path):  # /var/run is a link to /run
        image_path = path
    return CriClient(path, image_path, patience, clock)
