"""Big answers: built once, whoever asks, and let go when nobody does."""

from __future__ import annotations

import asyncio

from reconciler.domain.steps import Steps
from reconciler.http.stock import FORGOTTEN, TIMES, Listing, Stock


class Shop:
    """A stock on a clock of our own; each building takes so many seconds."""

    def __init__(self, takes: float = 0.0) -> None:
        self.now, self.built, self.takes = 0.0, 0, takes
        self.stock = Stock(self.build, lambda: 0, lambda: self.now)

    def build(self) -> Steps[Listing]:
        self.built += 1
        yield
        self.now += self.takes
        return Listing({"kind": "Test"}, {"items": [b"1", b"2"]}, ["a", "b"])


async def test_sixty_who_ask_at_once_are_answered_by_one_building() -> None:
    """359 MiB it took when each had one of its own."""
    shop = Shop()
    found = await asyncio.gather(*(shop.stock.listing() for _ in range(60)))
    assert shop.built == 1
    assert len({id(one) for one in found}) == 1


async def test_what_took_long_to_build_is_told_for_longer() -> None:
    """On a big node building takes a twentieth of the time at the most."""
    shop = Shop(takes=0.5)
    await shop.stock.listing()
    shop.now += 0.5 * TIMES - 0.1
    await shop.stock.listing()
    assert shop.built == 1
    shop.now += 0.2
    await shop.stock.listing()
    assert shop.built == 2


async def test_one_who_leaves_does_not_stop_what_others_wait_for() -> None:
    """Or clients that come and go would have it begun for ever, and never finished."""
    shop = Shop()
    first = asyncio.ensure_future(shop.stock.listing())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    await shop.stock.listing()
    assert shop.built == 1


async def test_what_nobody_asks_for_is_let_go() -> None:
    """A page that was looked at once holds no memory for the rest of the month."""
    shop = Shop()
    await shop.stock.listing()
    shop.now += FORGOTTEN + 1
    shop.stock.forget()
    await shop.stock.listing()
    assert shop.built == 2


def test_a_long_document_is_sent_in_pieces_of_the_length_it_told() -> None:
    """Sixty slow readers hold a piece each, not a copy each."""
    rows = [b'"%05d%s"' % (n, b"x" * 1000) for n in range(500)]
    listing = Listing({"kind": "Test"}, {"items": rows})
    pieces = list(listing.pieces())
    assert sum(map(len, pieces)) == listing.length()
    assert max(map(len, pieces)) < 70_000
