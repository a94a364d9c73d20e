"""`CriClient`: a container runtime over its socket, as `domain.runtime.ImageRuntime`.

Deadlines are gRPC's own: a cancel scope around a unary call of grpc.aio leaks a bare CancelledError
(docs/architecture.md). Lists are read in `lists.py`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import grpc.aio

from ..aiokit import both
from ..domain.inventory import (
    Container,
    ContainerEvent,
    Image,
    Listing,
    Sandbox,
    Volume,
    is_full_id,
)
from ..domain.runtime import ImageService, RuntimeVersion
from ..host.clock import SteadyClock
from . import translate
from ._pb import runtime_pb2 as pb
from .failures import translated_errors, unreadable
from .lists import Lists
from .rpc import Methods, answered, asked, open_channel
from .strangers import Strangers

LIST_DEADLINE = 120.0  # seconds, as kubelet's runtimeRequestTimeout
STATUS_DEADLINE = 10.0
REMOVE_DEADLINE = 600.0  # a removal cut short may leave records behind: give it all the time


class CriClient:
    """A client of one runtime. `clock` stamps listings; a wall clock set back by a day would make a
    new image a day old."""

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
        self._strangers = Strangers(self._channels[0], runtime_path)
        self._version: RuntimeVersion | None = None
        self._events_read = 0
        self._lists = Lists(self._list_deadline, lambda: self._events_read)

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
        self._lists.streams = None  # another version may be answering by now
        version = translate.version(await self._ask("Version", pb.VersionRequest()))
        if version != self._version:
            self._version, self._strangers.supported = version, True
        if len(self._channels) == 1:
            return version
        return replace(version, images=await self._image_service())

    async def list_all(self) -> Listing:
        began = self.clock()
        images = await self._list_images()
        # Images first: a container made from now on, of an image not in the list, puts none at
        # risk.
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
        """Yields events until the stream ends. Raises EventsUnsupported or RuntimeUnavailable."""
        call = self._runtime["GetContainerEvents"](pb.GetEventsRequest())
        try:
            with translated_errors("GetContainerEvents", self._path):
                async for message in call:
                    if message is None:
                        raise unreadable("GetContainerEvents", self._path)
                    self._events_read += 1
                    event = translate.event(message)
                    if event is not None:
                        yield event
        finally:
            call.cancel()

    async def _list_images(self) -> tuple[Image, ...]:
        return await self._lists.images(self._images, self._image_path)

    async def _list_containers(self) -> tuple[Container, ...]:
        return await self._lists.containers(self._runtime, self._path)

    async def _list_sandboxes(self) -> tuple[Sandbox, ...]:
        return await self._lists.sandboxes(self._runtime, self._path)

    async def _image_service(self) -> ImageService:
        """Which runtime answers at the images' own socket; a stale setting may lead to another."""
        ask = Methods(self._channels[-1], "RuntimeService")["Version"]
        with translated_errors("Version", self._image_path):
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
        return await asked(self._runtime, self._path, method, request, self._deadline)

    async def _ask_images(self, method: str, request: Any, deadline: float) -> Any:
        return await asked(self._images, self._image_path, method, request, deadline)


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
    """A client for endpoints as crictl takes them. `patience`: seconds that any call may
    take, for commands that run once; else minutes for lists. Raises ValueError."""
    path = socket_path(runtime_endpoint)
    image_path = socket_path(image_endpoint) if image_endpoint else path
    if os.path.realpath(image_path) == os.path.realpath(path):  # /var/run is a link to /run
        image_path = path
    return CriClient(path, image_path, patience, clock)
