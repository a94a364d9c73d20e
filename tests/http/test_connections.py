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

HEALTHZ = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = HEALTHZ[:-2] + "Transfer-Encoding: chunked\r\n\r\n"  # and the body that follows


class Site:
    """An application with three answers behind the real server."""

    def __init__(self) -> None:
        self.now = Clock(0.0)
        self.connections = Connections(self.now)
        self.port = 0
        self.pieces = 0  # of the endless answer
        self.writers: list[asyncio.StreamWriter] = []
        self.healthy_at = asyncio.Event()
        self.healthy_at.set()
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
        await self.healthy_at.wait()
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

    async def visit(self, sent: str = "", address: str = "127.0.0.1") -> asyncio.StreamReader:
        reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(address, 0)
        )
        self.writers.append(self.writer)
        self.writer.write(sent.encode())
        return reader

    async def healthz(self) -> str:
        reader = await self.visit(HEALTHZ)
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
        head = f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {'x' * connections.MOST_BYTES}"
        reader = await site.visit(head)
        assert b"400" in await asyncio.wait_for(reader.readline(), HANGS)


async def test_a_new_client_finds_a_place_among_nothing_but_probes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """512 connections that requested /healthz again and again left kubelet none: the only one
    without a request was its own, which was closed as soon as it was there."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 8)
    async with Site().open() as site:
        site.healthy_at = asyncio.Event()
        readers = []
        for _ in range(9):
            readers.append(await site.visit(HEALTHZ))
            site.now.advance(0.1)
        await ended(readers[0])
        site.healthy_at.set()
        assert await asyncio.wait_for(readers[-1].readline(), HANGS) == b"HTTP/1.1 200 OK\r\n"


async def test_the_address_with_most_connections_loses_one_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A crowd in one pod does not take kubelet's place, though it has waited for longest."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 8)
    async with Site().open() as site:
        kubelet = await site.visit()
        writer, readers = site.writer, []
        for _ in range(12):
            site.now.advance(0.1)
            readers.append(await site.visit(address="127.0.0.2"))
        for reader in readers[:5]:
            await ended(reader)
        writer.write(HEALTHZ.encode())
        assert await asyncio.wait_for(kubelet.readline(), HANGS) == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        HEALTHZ[:-2] + "X: " + "x" * connections.MOST_BYTES + "\r\n\r\n",
        HEALTHZ[:-2] + "a:\r\n" * connections.MOST_LINES + "\r\n",
        CHUNKED + "1\r\na\r\n" * connections.MOST_LINES,
        HEALTHZ * connections.MOST_LINES,
    ],
    ids=["long head", "many headers", "tiny chunks", "many requests"],
)
async def test_more_than_a_request_needs_is_refused_before_it_is_parsed(sent: str) -> None:
    """Complete when they were read, all of these were parsed, and the event loop stood still for
    seconds."""
    async with Site().open() as site:
        reader = await site.visit(sent)
        assert b"400" in await asyncio.wait_for(reader.readline(), HANGS)
        await ended(reader)


async def test_bad_bytes_after_an_answer_end_the_connection_without_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The refusal of a request that had its answer raised an error, line after line of the log."""
    async with Site().open() as site:
        reader = await site.visit(CHUNKED)
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\nok"), HANGS)
        site.writer.write(b"no chunk\r\n")
        await ended(reader)
        assert await site.healthz() == "HTTP/1.1 200 OK"
    assert [one for one in caplog.records if one.levelname in ("ERROR", "CRITICAL")] == []
