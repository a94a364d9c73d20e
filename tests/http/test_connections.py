"""Who may stay connected, and for how long: real sockets, and a clock of our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.lowlevel
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from reconciler.http import connections, server
from reconciler.http.connections import LIMITS, STUCK, Connections, Kind
from reconciler.http.guard import Guard
from reconciler.http.token import Token
from tests.engine.world import Clock


class Door:
    """An application of three answers behind the real door."""

    def __init__(self) -> None:
        self.now = Clock(0.0)
        self.connections = Connections(self.now)
        self.port = 0
        self.pieces = 0  # of the endless answer
        self.writers: list[asyncio.StreamWriter] = []
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        routes = [
            Route("/healthz", self.healthy),
            Route("/endless", self.endless),
            Route("/never", self.never),
        ]
        self.app = Starlette(routes=routes)
        self.app.add_middleware(Guard, token=Token(None), open_to_token=False)
        self.app.state.forget = lambda: None

    async def healthy(self, request: Request) -> Response:
        return PlainTextResponse("ok")

    async def endless(self, request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            while True:
                self.pieces += 1
                yield bytes(64 * 1024)
                await anyio.lowlevel.checkpoint()

        return StreamingResponse(pieces())

    async def never(self, request: Request) -> Response:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
        raise AssertionError

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Door]:
        bound = server.listening("127.0.0.1", 0)
        self.port = bound.getsockname()[1]
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, bound, self.app, self.connections)
            yield self
            for writer in self.writers:
                writer.transport.abort()
            group.cancel_scope.cancel()

    async def visit(self, sent: str = "") -> asyncio.StreamReader:
        reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(self.writer)
        self.writer.write(sent.encode())
        return reader

    async def healthz(self) -> str:
        reader = await self.visit("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        line = await asyncio.wait_for(reader.readline(), 5)
        self.writer.close()
        return line.decode().strip()


async def ended(reader: asyncio.StreamReader) -> None:
    """Until the other side has closed it."""
    async with asyncio.timeout(10):
        with suppress(OSError):
            while await reader.read(1 << 20):
                pass


@pytest.mark.parametrize("sent", ["", "GET /healthz HTTP/1.1\r\nHost: loc"])
async def test_one_who_does_not_come_to_the_point_is_sent_away(sent: str) -> None:
    """Idle or a byte a second: neither keeps a place for ever."""
    async with Door().open() as door:
        reader = await door.visit(sent)
        assert await door.healthz() == "HTTP/1.1 200 OK"  # so it was let in
        door.now.advance(LIMITS[Kind.IDLE] - 1)
        door.connections.sweep()
        door.writer.write(b"a" if sent else b"")
        await asyncio.sleep(0)
        assert not reader.at_eof()
        door.now.advance(2)
        door.connections.sweep()
        await ended(reader)


async def test_one_who_does_not_read_what_he_asked_for_is_sent_away() -> None:
    """His answer lies in our memory as long as he stays."""
    async with Door().open() as door:
        reader = await door.visit("GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(10):
            sent, unchanged = 0, 0
            while not sent or unchanged < 200:  # turns of the loop without a further piece
                await anyio.lowlevel.checkpoint()
                unchanged = unchanged + 1 if door.pieces == sent else 0
                sent = door.pieces
        door.now.advance(STUCK - 1)
        door.connections.sweep()
        assert await reader.read(1)
        door.now.advance(STUCK + 1)
        door.connections.sweep()
        await ended(reader)


async def test_when_all_places_are_taken_the_longest_idle_one_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A probe is answered however many connect and say nothing."""
    monkeypatch.setattr(connections, "MOST", 8)
    async with Door().open() as door:
        readers = []
        for _ in range(12):
            readers.append(await door.visit())
            door.now.advance(0.1)
        assert await door.healthz() == "HTTP/1.1 200 OK"
        for reader in readers[:5]:
            await ended(reader)
        assert not readers[-1].at_eof()


async def test_those_who_wait_for_answers_leave_room_to_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor are all places taken by those who ask for much at once."""
    monkeypatch.setattr(connections, "MOST", 8)
    monkeypatch.setattr(connections, "ANSWERS", 4)
    async with Door().open() as door:
        for _ in range(12):
            await door.visit("GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await door.healthz() == "HTTP/1.1 200 OK"


async def test_one_who_leaves_takes_his_request_along() -> None:
    """Who asks and goes, again and again, leaves no work behind."""
    async with Door().open() as door:
        await door.visit("GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(door.asked.wait(), 5)
        door.writer.transport.abort()
        await asyncio.wait_for(door.left.wait(), 5)
        assert await door.healthz() == "HTTP/1.1 200 OK"


async def test_a_head_that_does_not_end_is_refused() -> None:
    """A header of megabytes is not gathered."""
    async with Door().open() as door:
        head = f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {'x' * 100_000}"
        reader = await door.visit(head)
        assert b"400" in await asyncio.wait_for(reader.readline(), 5)
