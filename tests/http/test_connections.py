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
from tests.builders import HANGS
from tests.engine.world import Clock


class Site:
    """An application with three answers behind the real server."""

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
        self.app.state.drop_unused = lambda: None

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
    async def open(self) -> AsyncIterator[Site]:
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
        line = await asyncio.wait_for(reader.readline(), HANGS)
        self.writer.close()
        return line.decode().strip()


async def ended(reader: asyncio.StreamReader) -> None:
    """Waits until the server has closed it."""
    async with asyncio.timeout(HANGS):
        with suppress(OSError):
            while await reader.read(1 << 20):
                pass


@pytest.mark.parametrize("sent", ["", "GET /healthz HTTP/1.1\r\nHost: loc"])
async def test_a_client_that_sends_no_complete_request_is_disconnected(sent: str) -> None:
    """Idle or a byte a second: neither keeps its place for ever."""
    async with Site().open() as site:
        reader = await site.visit(sent)
        assert await site.healthz() == "HTTP/1.1 200 OK"  # so it was accepted
        site.now.advance(LIMITS[Kind.IDLE] - 1)
        site.connections.sweep()
        site.writer.write(b"a" if sent else b"")
        await asyncio.sleep(0)
        assert not reader.at_eof()
        site.now.advance(2)
        site.connections.sweep()
        await ended(reader)


async def test_a_client_that_does_not_read_its_answer_is_disconnected() -> None:
    """Its answer stays in our memory as long as it is connected."""
    async with Site().open() as site:
        reader = await site.visit("GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(HANGS):
            sent, unchanged = 0, 0
            while not sent or unchanged < 200:  # turns of the loop without a further piece
                await anyio.lowlevel.checkpoint()
                unchanged = unchanged + 1 if site.pieces == sent else 0
                sent = site.pieces
        site.now.advance(STUCK - 1)
        site.connections.sweep()
        assert await reader.read(1)
        site.now.advance(STUCK + 1)
        site.connections.sweep()
        await ended(reader)


async def test_when_all_places_are_taken_the_longest_idle_one_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A probe is answered however many connect and say nothing."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 8)
    async with Site().open() as site:
        readers = []
        for _ in range(12):
            readers.append(await site.visit())
            site.now.advance(0.1)
        assert await site.healthz() == "HTTP/1.1 200 OK"
        for reader in readers[:5]:
            await ended(reader)
        assert not readers[-1].at_eof()


async def test_clients_that_wait_for_answers_leave_room_for_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All places cannot be taken by clients that request much at once."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 8)
    monkeypatch.setattr(connections, "MOST_ANSWERS", 4)
    async with Site().open() as site:
        for _ in range(12):
            await site.visit("GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await site.healthz() == "HTTP/1.1 200 OK"


async def test_a_request_ends_when_its_client_leaves() -> None:
    """A client that asks and leaves, again and again, leaves no work behind."""
    async with Site().open() as site:
        await site.visit("GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(site.asked.wait(), HANGS)
        site.writer.transport.abort()
        await asyncio.wait_for(site.left.wait(), HANGS)
        assert await site.healthz() == "HTTP/1.1 200 OK"


async def test_a_head_that_does_not_end_is_refused() -> None:
    """A header of megabytes is not kept in memory."""
    async with Site().open() as site:
        head = f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {'x' * server.MOST_HEAD}"
        reader = await site.visit(head)
        assert b"400" in await asyncio.wait_for(reader.readline(), HANGS)
