"""Caches big answers: each is built once for all clients, in steps that give way to the event
reader, and again when it is old. It is kept as bytes, compressed once, and sent a piece at a time,
so that sixty slow readers cost no more memory than one.
"""

from __future__ import annotations

import json
import time
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..aiokit import run_in_steps
from ..domain.steps import Steps
from ..report import Json
from .query import accepts

FRESH = 1.0  # seconds for which a document is reused, at least
TIMES = 20  # or this many times as long as it took to build
UNUSED = 60.0  # seconds without a request after which a document is freed
PIECE = 64 * 1024  # bytes


@dataclass(slots=True)
class Document:
    """A document: its head, and its lists as rows of JSON. With `ids`, the sorted ids of the rows
    of `items`, it can be read in pages."""

    head: Json
    lists: Mapping[str, Sequence[bytes]]
    ids: Sequence[str] = ()
    _zipped: list[bytes] = field(default_factory=list)

    def page(self, after: str, limit: int) -> Document:
        """The `limit` rows after an id, as Kubernetes pages a long list: with `continue` for the
        next request, and how many are left."""
        first = bisect_right(self.ids, after)
        last = min(first + limit, len(self.ids))
        more = last < len(self.ids)
        metadata: Json = {"continue": self.ids[last - 1] if more else ""}
        if more:
            metadata["remainingItemCount"] = len(self.ids) - last
        rows = self.lists["items"][first:last]
        return Document(self.head | {"metadata": metadata}, {"items": rows})

    def pieces(self) -> Iterator[bytes]:
        """The document as JSON, in pieces of about PIECE bytes."""
        size, pending = 0, list[bytes]()
        for part in self._parts():
            pending.append(part)
            size += len(part)
            if size >= PIECE:
                yield b"".join(pending)
                size, pending = 0, []
        yield b"".join(pending)

    def length(self) -> int:
        """The length of all pieces in bytes."""
        return sum(map(len, self._parts()))

    def _parts(self) -> Iterator[bytes]:
        yield json.dumps(self.head).encode()[:-1]
        for name, rows in self.lists.items():
            yield f', "{name}": ['.encode()
            for number, row in enumerate(rows):
                yield b", " + row if number else row
            yield b"]"
        yield b"}"

    def zipped(self) -> Steps[list[bytes]]:
        """The document compressed with gzip; made once."""
        if not self._zipped:
            compressor, found = zlib.compressobj(level=3, wbits=31), []
            for piece in self.pieces():
                found.append(compressor.compress(piece))
                yield
            self._zipped = [*found, compressor.flush()]
        return self._zipped


class DocumentCache:
    """Caches one document. `arrived` counts received events, to which building gives way."""

    def __init__(
        self,
        build: Callable[[], Steps[Document]],
        arrived: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._build, self._arrived, self._monotonic = build, arrived, monotonic
        self._building = anyio.Lock()
        self._made: Document | None = None
        self._old_at = self._requested_at = float("-inf")

    async def get(self) -> Document:
        """The document, at most as old as FRESH and TIMES allow. A client that leaves does not stop
        the building: the next would have to begin from the start."""
        self._requested_at = self._monotonic()
        async with self._building:
            if self._made is None or self._requested_at >= self._old_at:
                with anyio.CancelScope(shield=True):
                    self._made = await self._build_now()
            assert self._made is not None
            return self._made

    async def _build_now(self) -> Document:
        began = self._monotonic()
        made = await run_in_steps(self._build(), self._arrived)
        took = self._monotonic() - began
        self._old_at = began + took + max(FRESH, TIMES * took)
        return made

    async def answer(self, document: Document, accepted: str) -> Response:
        """The document as a response, compressed if the client accepts that."""
        headers = {"Vary": "Accept-Encoding"}
        if not accepts(accepted, "gzip"):
            return PieceResponse(document.pieces(), document.length(), headers)
        zipped = await run_in_steps(document.zipped(), self._arrived)
        length = sum(map(len, zipped))
        return PieceResponse(zipped, length, headers | {"Content-Encoding": "gzip"})

    def drop_if_unused(self) -> None:
        """Frees the document if nobody has requested it lately."""
        if self._monotonic() - self._requested_at > UNUSED:
            self._made = None


class PieceResponse(Response):
    """JSON that is sent piece by piece, each after the one before has been sent."""

    media_type = "application/json"

    def __init__(self, pieces: Iterable[bytes], length: int, headers: Mapping[str, str]) -> None:
        super().__init__(None, 200, {**headers, "Content-Length": str(length)})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send(start | {"headers": self.raw_headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await anyio.lowlevel.checkpoint()  # also when a fast reader never makes `send` wait
        await send({"type": "http.response.body", "body": b"", "more_body": False})
