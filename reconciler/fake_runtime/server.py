"""A CRI server over a unix socket on a simulated node, for kubelet, crictl and the daemon alike.

`faults` is how a test makes it misbehave: a function under a method's name is awaited with the
request before it is answered; what it raises, or returns (if not None), is the answer.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from ._pb import workload_pb2 as pb
from .calls import Calls
from .events import EventStreams
from .node import Node, Refused
from .wire import OPTIONS, methods, path_of

BATCH = 3000  # items of one message of a streamed list
STREAM_GRACE = 1.0  # seconds at most that CRI-O gives its streams to end

Fault = Callable[[Any], Awaitable[Any]]


class FakeRuntimeServer:
    """Serves a node on a socket from `async with` to its end; `calls.removals` is the truth."""

    def __init__(
        self, node: Node, socket_path: str, clock: Callable[[], float] = time.time
    ) -> None:
        self.node, self.path, self._clock = node, socket_path, clock
        self.faults: dict[str, Fault] = {}
        self.calls = Calls(node, clock)
        self._events = EventStreams(node, clock)
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begins to serve; also after `stop`, as a restarted runtime does."""
        server = grpc.aio.server(options=OPTIONS)
        services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
        for name, method in methods().items():
            service = path_of(method).split("/")[1]
            services.setdefault(service, {})[name] = self._handler(name, method)
        for service, handlers in services.items():
            generic = grpc.method_handlers_generic_handler(service, handlers)
            server.add_generic_rpc_handlers((generic,))
        server.add_insecure_port(f"unix:{self.path}")
        await server.start()
        self.node.listeners.append(self._events.publish)
        self._server = server

    async def stop(self, grace: float | None = None, *, killed: bool = False) -> None:
        """Ends all calls. Event streams break off; CRI-O's end cleanly, unless it is `killed`. What
        happens until the next start is never sent, and undelivered events are dropped."""
        if self._server is None:
            return
        self.node.listeners.remove(self._events.publish)
        clean = self.node.habits.crio and not killed
        if clean:
            self._events.end()
        await self._server.stop(grace or (STREAM_GRACE if clean else None))
        self._events.end()
        self._server = None

    @property
    def subscribers(self) -> int:
        """How many clients read the event stream now."""
        return self._events.subscribers

    # --- serving -------------------------------------------------------------------------------

    def _handler(self, name: str, method: Any) -> grpc.RpcMethodHandler[Any, Any]:
        answer = getattr(self if method.server_streaming else self.calls, _snake(name))
        request = getattr(pb, method.input_type.name).FromString
        respond = getattr(pb, method.output_type.name).SerializeToString
        if method.server_streaming:

            async def stream(message: Any, context: Any) -> AsyncIterator[Any]:
                await self._misbehave(name, message, context)
                async for one in answer(message, context):
                    yield one

            return grpc.unary_stream_rpc_method_handler(stream, request, respond)

        async def unary(message: Any, context: Any) -> Any:
            try:
                faulty = await self._misbehave(name, message, context)
                return faulty if faulty is not None else answer(message)
            except Refused as refused:
                await context.abort(grpc.StatusCode[refused.code], str(refused))

        return grpc.unary_unary_rpc_method_handler(unary, request, respond)

    async def _misbehave(self, name: str, message: Any, context: Any) -> Any:
        fault = self.faults.get(name)
        if fault is None:
            return None
        try:
            return await fault(message)
        except Refused as refused:
            await context.abort(grpc.StatusCode[refused.code], str(refused))

    # --- streamed lists and events ---------------------------------------------------------------

    async def stream_images(
        self, request: pb.StreamImagesRequest, context: Any
    ) -> AsyncIterator[pb.StreamImagesResponse]:
        for batch in await self._batches("StreamImages", self.calls.images(request), context):
            yield pb.StreamImagesResponse(images=batch)

    async def stream_containers(
        self, request: pb.StreamContainersRequest, context: Any
    ) -> AsyncIterator[pb.StreamContainersResponse]:
        for batch in await self._batches(
            "StreamContainers", self.calls.containers(request), context
        ):
            yield pb.StreamContainersResponse(containers=batch)

    async def stream_pod_sandboxes(
        self, request: pb.StreamPodSandboxesRequest, context: Any
    ) -> AsyncIterator[pb.StreamPodSandboxesResponse]:
        for batch in await self._batches(
            "StreamPodSandboxes", self.calls.sandboxes(request), context
        ):
            yield pb.StreamPodSandboxesResponse(pod_sandboxes=batch)

    async def _batches(self, name: str, items: Iterable[Any], context: Any) -> list[list[Any]]:
        if not self.node.habits.streams:
            text = f"unknown method {name} for service runtime.v1"
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)
        listed = list(items)
        return [listed[start : start + BATCH] for start in range(0, len(listed), BATCH)]

    def get_container_events(self, request: Any, context: Any) -> AsyncIterator[Any]:
        return self._events.subscribe(context)


def _snake(name: str) -> str:
    """ListPodSandbox -> list_pod_sandbox"""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
