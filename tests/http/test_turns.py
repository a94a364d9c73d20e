"""Who waits for whom: answers for each other, and all of them for the daemon's own work."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.http.turns import LONGEST, SHARE, SPEED, Turns


class Time:
    """Seconds that pass by sleeping alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("worked", "length", "rest"),
    [
        (0.0, 0, 0.02),
        (0.01, 0, SHARE * 0.01),
        (9.0, 0, LONGEST),  # the documents of a big node: their making has a bound of its own
        (0.0, 5_000_000, 5_000_000 / SPEED),
    ],
)
async def test_the_longer_an_answer_takes_the_longer_the_daemon_rests(
    worked: float, length: int, rest: float
) -> None:
    """However many ask, most of the time is the daemon's."""
    time = Time()
    turns = Turns(0.02, time, time.sleep)
    turn = await turns.take()
    time.now += worked
    turn.length = length
    turns.give_back(turn)
    turns.give_back(turn)  # twice is as once
    await turns.take()
    assert time.now == pytest.approx(worked + rest)


async def test_one_who_leaves_while_waiting_keeps_nobody_waiting() -> None:
    """A client that goes away takes no turn with it."""
    time = Time()
    turns = Turns(0.02, time, time.sleep)
    first = await turns.take()
    gone = asyncio.ensure_future(turns.take())
    await asyncio.sleep(0)
    gone.cancel()
    turns.give_back(first)
    await asyncio.wait_for(turns.take(), 5)
