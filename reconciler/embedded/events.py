"""The event stream, in each runtime's way (docs/runtimes.md)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from ..domain.inventory import EventKind
from . import answers
from ._pb import workload_pb2 as pb
from .habits import Events
from .node import Node

REPLAYED = 300.0  # seconds that containerd 2.x keeps events nobody heard


class EventStreams:
    """Takes events from the node to the subscribers."""

    def __init__(self, node: Node, clock: Callable[[], float]) -> None:
        self.node, self._clock = node, clock
        self._subscribers: list[asyncio.Queue[pb.ContainerEventResponse]] = []
        self._unheard: list[tuple[float, pb.ContainerEventResponse]] = []
        self._turn = 0

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    def drop_all(self) -> None:
        """Forgets the subscribers: their streams have ended."""
        self._subscribers.clear()

    async def subscribe(self, context: Any) -> AsyncIterator[pb.ContainerEventResponse]:
        how = self.node.habits.events
        if how is Events.NONE:
            text = "method GetContainerEvents not implemented"
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)
        if how is Events.OFF:
            return
        queue: asyncio.Queue[pb.ContainerEventResponse] = asyncio.Queue()
        for at, message in self._unheard:
            if how is not Events.BROADCAST or self._clock() - at <= REPLAYED:
                queue.put_nowait(message)
        self._unheard.clear()
        self._subscribers.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            with contextlib.suppress(ValueError):
                self._subscribers.remove(queue)

    def heard(self, kind: EventKind, subject_id: str, sandbox_id: str, at: float) -> None:
        """One event from the node, to whoever is to have it."""
        how = self.node.habits.events
        if how in (Events.NONE, Events.OFF):
            return
        message = answers.event(self.node, kind, subject_id, sandbox_id, at)
        if not self._subscribers:
            self._unheard = [*self._unheard[-999:], (at, message)]
            return
        receivers = self._subscribers
        if how is Events.SHARED:
            self._turn += 1
            receivers = [self._subscribers[self._turn % len(self._subscribers)]]
        for queue in receivers:
            queue.put_nowait(message)
