"""The event stream, with all that can go wrong on it: lost, doubled, late, swapped, replayed, for
unknown containers, stalled, broken off."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc

from reconciler.domain.inventory import EventKind
from reconciler.fake_runtime import answers
from reconciler.fake_runtime._pb import workload_pb2 as pb
from reconciler.fake_runtime.habits import Events
from reconciler.fake_runtime.node import Node

REPLAYED = 300.0  # seconds that containerd 2.x keeps events nobody received


def rpc_error(code: str, text: str) -> grpc.aio.AioRpcError:
    none = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode[code], none, none, text, None)


class Stream:
    """One subscription: bytes, then an end (None: clean)."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | grpc.aio.AioRpcError | None] = asyncio.Queue()
        self._held: list[bytes] | None = None  # not None: stalled, silently

    def put(self, data: bytes) -> None:
        if self._held is not None:
            self._held.append(data)
        else:
            self._queue.put_nowait(data)

    def end(self, error: grpc.aio.AioRpcError | None) -> None:
        self._queue.put_nowait(error)

    def stall(self) -> None:
        self._held = [] if self._held is None else self._held

    def go_on(self) -> None:
        held, self._held = self._held, None
        for data in held or ():
            self.put(data)

    async def get(self) -> bytes | grpc.aio.AioRpcError | None:
        return await self._queue.get()


class Streams:
    """Takes events from the node to the subscribers; `fates` are the next events'."""

    def __init__(
        self, node: Node, clock: Callable[[], float], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.node, self._clock, self._loop = node, clock, loop
        self.fates: deque[str] = deque()
        self.unresolved: set[str] = set()  # containers whose image the runtime does not report
        self.next_is_unresolved = False
        self._open: list[Stream] = []
        self._undelivered: deque[tuple[float, bytes]] = deque(maxlen=1000)
        self._lately: deque[tuple[float, bytes]] = deque(maxlen=200)
        self._swapped: bytes | None = None
        self._random = random.Random(7)
        node.listeners.append(self.deliver)

    def subscribe(self) -> Stream:
        """Raises an AioRpcError; ends at once where events are off."""
        how = self.node.habits.events
        if how is Events.NONE:
            raise rpc_error("UNIMPLEMENTED", "method GetContainerEvents not implemented")
        stream = Stream()
        if how is Events.OFF:
            stream.end(None)
            return stream
        for at, data in self._undelivered:
            if how is not Events.BROADCAST or self._clock() - at <= REPLAYED:
                stream.put(data)
        self._undelivered.clear()
        self._open.append(stream)
        return stream

    def close(self, stream: Stream) -> None:
        if stream in self._open:
            self._open.remove(stream)

    def end_all(self, error: grpc.aio.AioRpcError | None) -> None:
        """The runtime ends every stream, cleanly or not."""
        for stream in self._open:
            stream.end(error)
        self._open.clear()

    def stall_all(self) -> None:
        for stream in self._open:
            stream.stall()

    def go_on(self) -> None:
        for stream in self._open:
            stream.go_on()

    def replay(self) -> None:
        """Everything of the last five minutes, once more."""
        for at, data in list(self._lately):
            if self._clock() - at <= REPLAYED:
                self._send(data)

    def unknown_container(self, hex_id: str, kind: EventKind) -> None:
        """An event about a container that no listing ever had."""
        event = pb.ContainerEventResponse(container_id=hex_id, created_at=int(self._clock() * 1e9))
        event.container_event_type = int(kind)  # type: ignore[assignment] # the same numbers
        self._send(event.SerializeToString())

    def deliver(self, kind: EventKind, subject_id: str, sandbox_id: str, at: float) -> None:
        """Delivers one event of the node, by its fate."""
        if self.next_is_unresolved and subject_id in self.node.containers:
            self.unresolved.add(subject_id)
            self.next_is_unresolved = False
        if self.node.habits.events in (Events.NONE, Events.OFF):
            return
        message = answers.event(self.node, kind, subject_id, sandbox_id, at)
        for one in message.containers_statuses:
            if one.id in self.unresolved:
                blank(one)
        data = message.SerializeToString()
        self._lately.append((at, data))
        fate = self.fates.popleft() if self.fates else ""
        if self.node.habits.events is Events.SHARED and self._random.random() < 0.2:
            fate = "lost"  # another subscriber had it
        self._by_fate(fate, data)

    def _by_fate(self, fate: str, data: bytes) -> None:
        if fate == "lost":
            return
        if fate == "swapped" and self._swapped is None:
            self._swapped = data  # goes out after the next one
            return
        if fate == "late":
            self._loop.call_later(self._random.uniform(0.1, 90.0), self._send, data)
            return
        self._send(data)
        if fate == "doubled":
            self._send(data)
        if self._swapped is not None:
            self._send(self._swapped)
            self._swapped = None

    def _send(self, data: bytes) -> None:
        if not self._open:
            self._undelivered.append((self._clock(), data))
        for stream in self._open:
            stream.put(data)


def blank(container: Any) -> None:
    """Removes what identifies the image of a container; what its creator asked for stays."""
    container.image_ref = container.image_id = ""
