"""Big answers: each is built once for all who ask, in steps that the reader of events goes before,
and anew when it is old. It is kept as bytes, compressed once, and sent a piece at a time, so that
sixty who read it slowly cost no more memory than one.
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

FRESH = 1.0  # seconds for which a document counts as new, at the least
TIMES = 20  # or as many times as long as it took to build
FORGOTTEN = 60.0  # seconds after which one that nobody asks for is let go
PIECE = 64 * 1024  # bytes


@dataclass(slots=True)
class Listing:
    """A document: its head, and its lists as rows of JSON. The rows of `items` are in the order of
    `ids`, if that is given: it can be told in pages."""

    head: Json
    lists: Mapping[str, Sequence[bytes]]
    ids: Sequence[str] = ()
    _zipped: list[bytes] = field(default_factory=list)

    def page(self, after: str, limit: int) -> Listing:
        """So many rows after an id, as Kubernetes tells a long list: with `continue`, what to ask
        for next, and how many are left."""
        first = bisect_right(self.ids, after)
        last = min(first + limit, len(self.ids))
        more = last < len(self.ids)
        metadata: Json = {"continue": self.ids[last - 1] if more else ""}
        if more:
            metadata["remainingItemCount"] = len(self.ids) - last
        rows = self.lists["items"][first:last]
        return Listing(self.head | {"metadata": metadata}, {"items": rows})

    def pieces(self) -> Iterator[bytes]:
        """The document as JSON, in pieces of about PIECE bytes."""
        size, gathered = 0, list[bytes]()
        for part in self._parts():
            gathered.append(part)
            size += len(part)
            if size >= PIECE:
                yield b"".join(gathered)
                size, gathered = 0, []
        yield b"".join(gathered)

    def length(self) -> int:
        """Bytes of all pieces."""
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
        """The same, compressed by gzip; made once."""
        if not self._zipped:
            pack, found = zlib.compressobj(level=3, wbits=31), []
            for piece in self.pieces():
                found.append(pack.compress(piece))
                yield
            self._zipped = [*found, pack.flush()]
        return self._zipped


class Stock:
    """One document. `arrived` counts the events that came, for the work to give way to them."""

    def __init__(
        self,
        build: Callable[[], Steps[Listing]],
        arrived: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._build, self._arrived, self._monotonic = build, arrived, monotonic
        self._alone = anyio.Lock()
        self._made: Listing | None = None
        self._old_at = self._asked_at = float("-inf")

    async def listing(self) -> Listing:
        """The document, at most as old as FRESH and TIMES say. Who leaves meanwhile does not stop
        its making: the next would have to begin from the start."""
        self._asked_at = self._monotonic()
        async with self._alone:
            if self._made is None or self._asked_at >= self._old_at:
                with anyio.CancelScope(shield=True):
                    self._made = await self._anew()
            assert self._made is not None
            return self._made

    async def _anew(self) -> Listing:
        began = self._monotonic()
        made = await run_in_steps(self._build(), self._arrived)
        took = self._monotonic() - began
        self._old_at = began + took + max(FRESH, TIMES * took)
        return made

    async def answer(self, listing: Listing, accepted: str) -> Response:
        """The listing as an answer, compressed if the asker accepts it."""
        headers = {"Vary": "Accept-Encoding"}
        if "gzip" not in accepted:
            return Pieces(listing.pieces(), listing.length(), headers)
        packed = await run_in_steps(listing.zipped(), self._arrived)
        return Pieces(packed, sum(map(len, packed)), headers | {"Content-Encoding": "gzip"})

    def forget(self) -> None:
        """Lets go of what nobody has asked for lately."""
        if self._monotonic() - self._asked_at > FORGOTTEN:
            self._made = None


class Pieces(Response):
    """JSON whose bytes are sent piece by piece, each when the one before has gone out."""

    media_type = "application/json"

    def __init__(self, pieces: Iterable[bytes], length: int, headers: Mapping[str, str]) -> None:
        super().__init__(None, 200, {**headers, "Content-Length": str(length)})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send(start | {"headers": self.raw_headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await anyio.lowlevel.checkpoint()  # a fast reader does not make it wait
        await send({"type": "http.response.body", "body": b"", "more_body": False})
