"""The event stream, in each runtime's way (docs/runtimes.md)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from ..domain.inventory import EventKind
from . import answers
from ._pb import workload_pb2 as pb
from .habits import Events
from .node import Node

REPLAYED = 300.0  # seconds for which containerd 2.x keeps events that nobody received
BACKLOG = 1000  # undelivered events that containerd 1.7 and CRI-O keep; the newest are dropped

Queue = asyncio.Queue[pb.ContainerEventResponse | None]  # None: the stream ends


class EventStreams:
    """Passes events from the node to the subscribers."""

    def __init__(self, node: Node, clock: Callable[[], float]) -> None:
        self.node, self._clock = node, clock
        self._subscribers: list[Queue] = []
        self._undelivered: deque[tuple[float, pb.ContainerEventResponse]] = deque()
        self._departed = 0  # subscribers that left, which the runtime has not noticed yet
        self._turn = 0
        self._had_one = False

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    def end(self) -> None:
        """The process ends: streams end cleanly if they still can, and everything is forgotten."""
        for queue in self._subscribers:
            queue.put_nowait(None)
        self._subscribers.clear()
        self._undelivered.clear()
        self._departed, self._had_one = 0, False

    async def subscribe(self, context: Any) -> AsyncIterator[pb.ContainerEventResponse]:
        how = self.node.habits.events
        if how is Events.NONE:
            text = "method GetContainerEvents not implemented"
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)
        if how is Events.OFF:
            return
        queue: Queue = asyncio.Queue()
        self._forget_old()
        for _, undelivered in self._undelivered:
            queue.put_nowait(undelivered)
        self._undelivered.clear()
        self._subscribers.append(queue)
        self._had_one = True
        try:
            while (message := await queue.get()) is not None:
                yield message
        finally:
            with contextlib.suppress(ValueError):
                self._subscribers.remove(queue)
                self._departed += how in (Events.SHARED, Events.BROADCAST)

    def publish(self, kind: EventKind, subject_id: str, sandbox_id: str, at: float) -> None:
        """Sends one event of the node to the subscribers that would get it."""
        how = self.node.habits.events
        if how in (Events.NONE, Events.OFF):
            return
        message = answers.event(self.node, kind, subject_id, sandbox_id, at)
        if self._is_lost(how):
            return
        if not self._subscribers:
            self._keep(how, at, message)
            return
        receivers = self._subscribers
        if how is Events.SHARED:
            self._turn += 1
            receivers = [self._subscribers[self._turn % len(self._subscribers)]]
        for queue in receivers:
            queue.put_nowait(message)

    def _is_lost(self, how: Events) -> bool:
        """containerd notices that a subscriber left only by the next event, which goes with it: on
        1.7 one for each, on 2.x one when nobody else is there (measured: one and more)."""
        if not self._departed or (how is Events.BROADCAST and self._subscribers):
            return False
        self._departed = self._departed - 1 if how is Events.SHARED else 0
        return True

    def _keep(self, how: Events, at: float, message: pb.ContainerEventResponse) -> None:
        """Keeps it for the next subscriber: CRI-O keeps nothing once it has had one."""
        self._forget_old()
        full = how is not Events.BROADCAST and len(self._undelivered) >= BACKLOG
        if not full and not (how is Events.PLAIN and self._had_one):
            self._undelivered.append((at, message))

    def _forget_old(self) -> None:
        if self.node.habits.events is Events.BROADCAST:
            while self._undelivered and self._clock() - self._undelivered[0][0] > REPLAYED:
                self._undelivered.popleft()
