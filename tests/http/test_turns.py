"""Answers wait for each other, and all of them for the daemon's own work."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from reconciler.http.turns import LONGEST, SHARE, SPEED, Turns
from tests.builders import HANGS


class Time:
    """A clock that only sleeping advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("worked", "length", "pause"),
    [
        (0.0, 0, 0.02),
        (0.01, 0, SHARE * 0.01),
        (9.0, 0, LONGEST),  # the documents of a big node: building them is limited elsewhere
        (0.0, 5_000_000, 5_000_000 / SPEED),
    ],
)
async def test_the_longer_an_answer_takes_the_longer_the_pause_after_it(
    worked: float, length: int, pause: float
) -> None:
    """However many clients ask, most of the time is left to the daemon."""
    time = Time()
    turns = Turns(0.02, time, time.sleep)
    turn = await turns.take("10.0.0.1")
    time.now += worked
    turn.length = length
    turns.give_back(turn)
    turns.give_back(turn)  # has no effect
    await turns.take("10.0.0.1")
    assert time.now == pytest.approx(worked + pause)


async def test_a_client_that_leaves_while_waiting_keeps_nobody_waiting() -> None:
    """A client that goes away takes no turn with it."""
    time = Time()
    turns = Turns(0.02, time, time.sleep)
    first = await turns.take("10.0.0.1")
    gone = asyncio.ensure_future(turns.take("10.0.0.1"))
    await asyncio.sleep(0)
    gone.cancel()
    turns.give_back(first)
    await asyncio.wait_for(turns.take("10.0.0.1"), HANGS)


async def test_a_probe_does_not_wait_behind_the_crowd_of_another_address() -> None:
    """500 greedy clients in one pod made kubelet's probe wait longer than a second."""
    time = Time()
    turns = Turns(0.02, time, time.sleep)
    answered: list[str] = []

    async def visit(address: str) -> None:
        turn = await turns.take(address)
        answered.append(address)
        turns.give_back(turn)

    async with asyncio.timeout(HANGS), anyio.create_task_group() as group:
        for address in [*["10.0.0.1"] * 500, "10.0.0.2", "10.0.0.2"]:
            group.start_soon(visit, address)
    assert [number for number, one in enumerate(answered) if one == "10.0.0.2"] == [2, 4]
    assert len(answered) == 502
