"""Big answers are built once for all clients, and freed when nobody requests them."""

from __future__ import annotations

import asyncio

from reconciler.domain.steps import Steps
from reconciler.http.document_cache import TIMES, UNUSED, Document, DocumentCache


class Cached:
    """A cache on a clock of our own; each building takes `takes` seconds."""

    def __init__(self, takes: float = 0.0) -> None:
        self.now, self.built, self.takes = 0.0, 0, takes
        self.cache = DocumentCache(self.build, lambda: 0, lambda: self.now)

    def build(self) -> Steps[Document]:
        self.built += 1
        yield
        self.now += self.takes
        return Document({"kind": "Test"}, {"items": [b"1", b"2"]}, ["a", "b"])


async def test_sixty_requests_at_once_are_answered_by_one_building() -> None:
    """It took 359 MiB when each request built its own."""
    cached = Cached()
    found = await asyncio.gather(*(cached.cache.get() for _ in range(60)))
    assert cached.built == 1
    assert len({id(one) for one in found}) == 1


async def test_what_took_long_to_build_is_reused_for_longer() -> None:
    """On a big node building takes at most a twentieth of the time."""
    cached = Cached(takes=0.5)
    await cached.cache.get()
    cached.now += 0.5 * TIMES - 0.1
    await cached.cache.get()
    assert cached.built == 1
    cached.now += 0.2
    await cached.cache.get()
    assert cached.built == 2


async def test_a_client_that_leaves_does_not_stop_what_others_wait_for() -> None:
    """Otherwise clients that come and go would start it for ever, and it would never finish."""
    cached = Cached()
    first = asyncio.ensure_future(cached.cache.get())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    await cached.cache.get()
    assert cached.built == 1


async def test_what_nobody_requests_is_freed() -> None:
    """A page that was opened once takes no memory for the remaining month."""
    cached = Cached()
    await cached.cache.get()
    cached.now += UNUSED + 1
    cached.cache.drop_if_unused()
    await cached.cache.get()
    assert cached.built == 2


def test_a_long_document_is_sent_in_pieces_of_the_announced_length() -> None:
    """Sixty slow readers hold a piece each, not a copy each."""
    rows = [b'"%05d%s"' % (n, b"x" * 1000) for n in range(500)]
    document = Document({"kind": "Test"}, {"items": rows})
    pieces = list(document.pieces())
    assert sum(map(len, pieces)) == document.length()
    assert max(map(len, pieces)) < 70_000
