"""Who is connected, and for how long: so many at once and no more, each with a time by which it has
to be done. A stranger who connects and says nothing, sends a byte a second or does not read what he
asked for takes no place that a probe needs.

uvicorn knows one limit for all alike, answers 503 to everybody beyond it, probes as well, and lets
a request's head take for ever (uvicorn/protocols/http/h11_impl.py; our measurement).
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import time
from collections.abc import Callable
from typing import Any

import anyio
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

MOST = 512  # connections at once
ANSWERS = 128  # of them that wait for an answer, or read one
BATCH = 64  # connections accepted before the loop gets a pause
PAUSE = 0.02  # seconds: that batch and the pause after it, together, at the least
STUCK = 15.0  # seconds that a reader may leave an answer unread
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
STREAM = "/api/v1/stream"


class Kind(enum.Enum):
    """What a connection is busy with."""

    IDLE = enum.auto()  # no whole request yet, or none since the last answer
    ANSWER = enum.auto()
    STREAM = enum.auto()
    PROBE = enum.auto()


# Seconds that a connection may be busy with it.
LIMITS = {
    Kind.IDLE: 5.0,
    Kind.ANSWER: 60.0,
    Kind.STREAM: float("inf"),
    Kind.PROBE: 10.0,
}


class Connections:
    """All that are open. Time is seconds of a clock that never steps."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self._open: set[Connection] = set()

    def enter(self, new: Connection) -> None:
        """One more. If there are too many, one is closed: who has been idle for longest; or, so
        that idle ones find a place to ask from, who has waited for longest of too many."""
        self._open.add(new)
        if len(self._open) > MOST:
            answers = [one for one in self._open if one.kind is Kind.ANSWER]
            idle = [one for one in self._open if one.kind is Kind.IDLE]
            crowd = answers if len(answers) > ANSWERS else idle
            min(crowd or self._open, key=lambda one: one.since).end()

    def leave(self, gone: Connection) -> None:
        """One fewer."""
        self._open.discard(gone)

    def sweep(self) -> None:
        """Ends those whose time is up."""
        now = self.monotonic()
        for one in list(self._open):
            if now - one.since > LIMITS[one.kind] or one.stuck_for(now) > STUCK:
                one.end()


class Connection(H11Protocol):
    """One connection, as uvicorn speaks HTTP on it; it knows since when it is busy with what."""

    def __init__(self, all_of_them: Connections, config: Config, state: ServerState) -> None:
        super().__init__(config, state, app_state={"connection": self})
        self._all = all_of_them
        self._request: object = None  # the one that was begun last
        self._unread_since: float | None = None
        self.since = all_of_them.monotonic()
        self.work = anyio.CancelScope()  # of the request under way

    @property
    def kind(self) -> Kind:
        """What it is busy with."""
        if not self._busy():
            return Kind.IDLE
        path = self.scope["path"]
        if path in PROBES:
            return Kind.PROBE
        return Kind.STREAM if path == STREAM else Kind.ANSWER

    def _busy(self) -> bool:
        begun: RequestResponseCycle | None = self.cycle  # None before the first
        return begun is not None and not begun.response_complete

    def stuck_for(self, now: float) -> float:
        """Seconds for which the other side has not read on."""
        return 0.0 if self._unread_since is None else now - self._unread_since

    def end(self) -> None:
        """Closes it at once, whatever is under way."""
        self._all.leave(self)
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._all.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Who leaves takes his request along."""
        self._all.leave(self)
        super().connection_lost(exc)
        self.work.cancel()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        self.since = self._all.monotonic()
        super().on_response_complete()
        self._look()

    def _look(self) -> None:
        if self.cycle is not self._request:
            self._request, self.since = self.cycle, self._all.monotonic()

    def pause_writing(self) -> None:
        self._unread_since = self._all.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        super().resume_writing()


async def accept(bound: socket.socket, make: Callable[[], Connection]) -> None:
    """Lets in who knocks, until cancelled. A flood of them is let in at a pace that leaves the loop
    its time; the kernel keeps the others waiting, in order."""
    loop = asyncio.get_running_loop()
    while True:
        began = time.monotonic()
        for _ in range(BATCH):
            try:
                one, _ = await loop.sock_accept(bound)
            except OSError:  # gone before it was let in, or no file descriptor is free
                break
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(make, one)
        await anyio.sleep(max(0.0, began + PAUSE - time.monotonic()))


def scope_of_work(scope: Any) -> anyio.CancelScope:
    """What ends a request when its connection ends: a scope to work in."""
    connection = scope.get("state", {}).get("connection")
    work = anyio.CancelScope()
    if isinstance(connection, Connection):
        connection.work = work
    return work
