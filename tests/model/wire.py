"""A gRPC channel without sockets: requests and answers are bytes, as on the wire.

`Channel` is what the daemon's own client opens in place of a unix socket; it lives as long as one
process of the daemon. Every answer and every event is reported to the oracle as it leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from reconciler.fake_runtime._pb import workload_pb2 as pb
from reconciler.fake_runtime.node import Refused
from reconciler.fake_runtime.wire import methods

from .service import LISTS, RUNTIME, Fault, Service
from .stream import rpc_error

OF_IMAGES = {"ListImages", "ImageStatus", "ImageFsInfo", "RemoveImage", "PullImage"}
LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
BATCH = 3  # items of one message of a streamed list: small, so that there are several
STREAMED = {
    "StreamImages": ("ListImages", "images"),
    "StreamContainers": ("ListContainers", "containers"),
    "StreamPodSandboxes": ("ListPodSandbox", "pod_sandboxes"),
}
_METHODS = methods()
REQUESTS = {name: getattr(pb, one.input_type.name) for name, one in _METHODS.items()}
RESPONSES = {name: getattr(pb, one.output_type.name) for name, one in _METHODS.items()}


@dataclass(frozen=True)
class Answered:
    """An answer on its way: asked for at `asked_at`, true at `at`."""

    message: Any
    asked_at: float
    order: int
    at: float


class Call:
    """What grpc.aio returns for a call: awaited, or iterated and maybe cancelled."""

    def __init__(self, awaited: Any, iterated: Any) -> None:
        self._awaited, self._iterated = awaited, iterated

    def __await__(self) -> Any:
        return self._awaited().__await__()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._iterated()  # type: ignore[no-any-return]

    def cancel(self) -> bool:
        return True


def _not_there(*request: Any, **more: Any) -> Call:
    """containerd's own API, which this runtime does not speak."""

    async def refused() -> Any:
        raise rpc_error("UNIMPLEMENTED", "unknown service")

    return Call(refused, None)


class Channel:
    """One process's connection to one socket; `cut` ends it as the process's death does."""

    def __init__(self, service: Service, socket: str = RUNTIME) -> None:
        self._service, self._socket = service, socket
        self._dead: asyncio.Future[None] = service.loop.create_future()

    def cut(self) -> None:
        """Every call under way fails at once; what was sent may still be done."""
        if not self._dead.done():
            self._dead.set_result(None)
        self._service.streams.end_all(rpc_error("UNAVAILABLE", "the process is dead"))

    async def close(self, grace: float | None = None) -> None:
        pass

    def unary_unary(self, path: str, serialize: Any, parse: Any) -> Callable[..., Call]:
        return self._method(path, serialize, parse)

    unary_stream = unary_unary

    def _method(self, path: str, serialize: Any, parse: Any) -> Callable[..., Call]:
        name = path.rpartition("/")[2]
        if path.startswith("/containerd."):
            return _not_there

        def call(message: Any, timeout: float | None = None) -> Call:
            request = REQUESTS[name].FromString(serialize(message))
            if name == "GetContainerEvents":
                return Call(None, lambda: self._events(parse))
            if name in STREAMED:
                return Call(None, lambda: self._streamed(name, request, timeout, parse))
            return Call(lambda: self._unary(name, request, timeout, parse), None)

        return call

    # --- one call ------------------------------------------------------------------------------

    async def _unary(self, name: str, request: Any, timeout: float | None, parse: Any) -> Any:
        try:
            answered = await self._asked(name, request, timeout)
        except grpc.aio.AioRpcError:
            if name in LISTS:
                self._service.oracle.knows.list_failed()
            raise
        data = answered.message.SerializeToString()
        self._report(name, request, answered)
        return parse(data)

    async def _streamed(
        self, name: str, request: Any, timeout: float | None, parse: Any
    ) -> AsyncIterator[Any]:
        base, field = STREAMED[name]
        if not self._service.node.habits.streams:
            raise rpc_error("UNIMPLEMENTED", f"unknown method {name} for service runtime.v1")
        try:
            answered = await self._asked(base, REQUESTS[base](), timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:  # else it is asked in one piece
                self._service.oracle.knows.list_failed()
            raise
        items = list(getattr(answered.message, LISTS[base]))
        for start in range(0, len(items), BATCH):
            batch = RESPONSES[name](**{field: items[start : start + BATCH]})
            yield parse(batch.SerializeToString())
        self._report(base, request, answered)

    async def _asked(self, name: str, request: Any, timeout: float | None) -> Answered:
        """Raises AioRpcError."""
        service, oracle = self._service, self._service.oracle
        removes = name == "RemoveImage"
        asked, order, lost = service.clock(), oracle.knows.next_order(), False
        if removes:
            oracle.sent(request.image.image, timeout)
        if name in OF_IMAGES and self._socket != service.image_socket:
            oracle.wrong_socket(name)
        try:
            answer, at = await self._carried(name, request, timeout, service.fault(name))
            if removes:
                oracle.shortage.freed(service.loop.time(), service.freed)
        except asyncio.CancelledError:
            if removes and not self._dead.done():
                oracle.cut_off()
            raise
        except grpc.aio.AioRpcError as error:
            lost = error.code() in LOST
            oracle.history.note(f"  {name} answers", error.code().name)
            raise
        finally:
            if removes:
                oracle.answered(request.image.image, lost)
        return Answered(answer, asked, order, at)

    async def _carried(
        self, name: str, request: Any, timeout: float | None, fault: Fault
    ) -> tuple[Any, float]:
        service, left = self._service, timeout if timeout is not None else float("inf")
        if service.unreachable(self._socket) or self._dead.done():
            await asyncio.sleep(0)
            raise rpc_error("UNAVAILABLE", "connect failed")
        service.surprise(name, "before")
        late = fault.late + service.lags.get(self._socket, 0.0)
        if late >= left and name == "RemoveImage":  # it gets there after all, much later
            service.loop.call_later(late, self._do_anyway, name, request, fault)
        await self._pass(late, left)
        if fault.code and not fault.done:
            raise rpc_error(fault.code, "as the test wants it")
        try:
            answer = service.answer(name, request, fault)
        except Refused as refused:
            raise rpc_error(refused.code, str(refused)) from None
        at = service.clock()
        service.surprise(name, "after")
        await self._pass(fault.slow, left - late)
        if fault.code:
            raise rpc_error(fault.code, "as the test wants it, though it was done")
        return answer, at

    def _do_anyway(self, name: str, request: Any, fault: Fault) -> None:
        with contextlib.suppress(Refused):
            self._service.answer(name, request, fault)

    async def _pass(self, seconds: float, left: float) -> None:
        """Time passes until an answer, a deadline or the process's death."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        await asyncio.wait([self._dead], timeout=min(seconds, left))
        if self._dead.done():
            raise rpc_error("UNAVAILABLE", "the process is dead")
        if seconds >= left:
            raise rpc_error("DEADLINE_EXCEEDED", "Deadline Exceeded")

    def _report(self, name: str, request: Any, answered: Answered) -> None:
        """Reports to the oracle what the daemon receives at this moment."""
        knows, answer = self._service.oracle.knows, answered.message
        if name == "ListImages":
            knows.images(list(answer.images), answered.asked_at, answered.order, answered.at)
        elif name == "ListContainers":
            knows.containers(list(answer.containers), answered.at)
        elif name == "ListPodSandbox":
            knows.sandboxes(list(answer.items), self._service.clock())
        elif name == "ContainerStatus":
            knows.status(request.container_id, self._service.clock())
        elif name == "PodSandboxStatus":
            knows.pause(request.pod_sandbox_id)

    # --- events --------------------------------------------------------------------------------

    async def _events(self, parse: Any) -> AsyncIterator[Any]:
        service = self._service
        if service.unreachable(self._socket) or self._dead.done():
            await asyncio.sleep(0)
            raise rpc_error("UNAVAILABLE", "connect failed")
        stream = service.streams.subscribe()
        try:
            while True:
                data = await stream.get()
                if data is None:
                    return
                if isinstance(data, grpc.aio.AioRpcError):
                    raise data
                event = pb.ContainerEventResponse.FromString(data)
                statuses = event.containers_statuses
                payload = {one.id for one in statuses if one.image_ref or one.image_id}
                for one in statuses:
                    service.oracle.knows.first_in_event.setdefault(one.id, service.clock())
                kind = event.container_event_type
                service.oracle.history.note("  event", (event.container_id[:8], kind))
                service.oracle.knows.event(event.container_id, kind, payload, service.clock())
                service.oracle.knows.pods.event(event, service.clock())
                yield parse(data)
        finally:
            service.streams.close(stream)
