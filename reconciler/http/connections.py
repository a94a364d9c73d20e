"""Limits connections in number, time and what they send. A client that connects and sends nothing,
sends a byte a second, does not read its answer or requests without end takes no place that another
address needs for its probes.

uvicorn has one limit for all connections alike, answers 503 to everybody beyond it, including
probes, and lets a request's head take for ever (uvicorn/protocols/http/h11_impl.py; our
measurement). h11 limits only a head that is incomplete, and parses whatever was read in one go: the
event loop stood still for 1.7 s for twenty bodies of tiny chunks, and for 6.9 s for 110 heads of
15,500 headers (our measurement).
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

MOST_CONNECTIONS = 512  # at once
MOST_ANSWERS = 128  # of them that wait for an answer, or read one
MOST_BYTES = 16 * 1024  # that a client sends for one answer
MOST_LINES = 128  # among them: a head, since no request here needs a body
BATCH = 64  # connections accepted before the event loop gets a pause
BATCH_SECONDS = 0.02  # for a batch and the pause after it, at least
STUCK = 15.0  # seconds that a client may leave an answer unread
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
STREAM = "/api/v1/stream"


class Kind(enum.Enum):
    """What a connection is busy with."""

    IDLE = enum.auto()  # no complete request yet, or none since the last answer
    ANSWER = enum.auto()
    STREAM = enum.auto()
    PROBE = enum.auto()


# Seconds that a connection may be of a kind.
LIMITS = {
    Kind.IDLE: 5.0,
    Kind.ANSWER: 60.0,
    Kind.STREAM: float("inf"),
    Kind.PROBE: 10.0,
}


class Connections:
    """All open connections. Times are seconds of a clock that never steps."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self._open: set[Connection] = set()

    def enter(self, new: Connection) -> None:
        """Adds a connection. If there are too many, another is closed, of the address that holds
        most: the one that has been idle for longest; or, if too many wait for answers, the one that
        has waited for longest, so that idle ones still find a place to send a request."""
        if len(self._open) >= MOST_CONNECTIONS:
            held = Counter(one.address for one in self._open)
            most = max(held.values())
            crowd = [one for one in self._open if held[one.address] == most]
            answers = [one for one in crowd if one.kind is Kind.ANSWER]
            idle = [one for one in crowd if one.kind is Kind.IDLE]
            crowded = answers if len(answers) > MOST_ANSWERS else idle
            min(crowded or crowd, key=lambda one: one.since).end()
        self._open.add(new)

    def leave(self, gone: Connection) -> None:
        """Removes a connection."""
        self._open.discard(gone)

    def sweep(self) -> None:
        """Closes the connections whose time is up."""
        now = self.monotonic()
        for one in list(self._open):
            if now - one.since > LIMITS[one.kind] or one.stuck_for(now) > STUCK:
                one.end()


class Connection(H11Protocol):
    """One connection of uvicorn that knows what it is busy with, and since when."""

    def __init__(self, connections: Connections, config: Config, state: ServerState) -> None:
        super().__init__(config, state, app_state={"connection": self})
        self._connections = connections
        self._request: object = None  # the latest one
        self._unread_since: float | None = None
        self._bytes = self._lines = 0  # received since the last answer
        self.address = ""  # of the client
        self.since = connections.monotonic()
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
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def stuck_for(self, now: float) -> float:
        """Seconds for which the client has not read."""
        return 0.0 if self._unread_since is None else now - self._unread_since

    def end(self) -> None:
        """Closes the connection at once, whatever is under way."""
        self._connections.leave(self)
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._connections.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """A request ends with its connection."""
        self._connections.leave(self)
        super().connection_lost(exc)
        self.work.cancel()

    def data_received(self, data: bytes) -> None:
        """Parses what was received, unless it is more than a request needs."""
        self._bytes += len(data)
        self._lines += data.count(b"\n")
        if self._bytes > MOST_BYTES or self._lines > MOST_LINES:
            self.send_400_response(
                f"A request has at most {MOST_BYTES} bytes and {MOST_LINES} lines."
            )
            return
        super().data_received(data)
        self._note_request()

    def send_400_response(self, msg: str) -> None:
        """Refuses a first request that is bad; a later one is the end of the connection. uvicorn
        would answer it twice, which h11 refuses by an exception (our measurement)."""
        if self.cycle is None:
            super().send_400_response(msg)
        else:
            self.end()

    def on_response_complete(self) -> None:
        self._bytes = self._lines = 0
        self.since = self._connections.monotonic()
        super().on_response_complete()
        self._note_request()

    def _note_request(self) -> None:
        if self.cycle is not self._request:
            self._request, self.since = self.cycle, self._connections.monotonic()

    def pause_writing(self) -> None:
        self._unread_since = self._connections.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        super().resume_writing()


async def accept(bound: socket.socket, make: Callable[[], Connection]) -> None:
    """Accepts connections until cancelled. A flood of them is accepted at a pace that leaves the
    event loop its time; the others wait in the kernel, in order."""
    loop = asyncio.get_running_loop()
    while True:
        began = time.monotonic()
        for _ in range(BATCH):
            try:
                one, _ = await loop.sock_accept(bound)
            except OSError:  # gone before it was accepted, or no file descriptor is free
                break
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(make, one)
        await anyio.sleep(max(0.0, began + BATCH_SECONDS - time.monotonic()))


def scope_of_work(scope: Any) -> anyio.CancelScope:
    """A cancel scope for a request, cancelled when its connection ends."""
    connection = scope.get("state", {}).get("connection")
    work = anyio.CancelScope()
    if isinstance(connection, Connection):
        connection.work = work
    return work
