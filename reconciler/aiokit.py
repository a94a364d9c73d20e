"""Async tools that know no image: the mailbox, long work in slices, backoff, and the supervision of
a source."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Generator, Hashable, Iterator, Sequence
from typing import Generic, TypeVar, cast

import anyio

T = TypeVar("T")

DELAYS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds between tries; the last one repeats
LONGEST_TURN = 0.02  # seconds that slices of long work leave to others


class Mailbox(Generic[T]):
    """Facts by key, for one reader. A newer fact of a key replaces the older and goes to the end.

    `put` never waits, whoever calls it: a runtime's event stream must be drained whatever the
    reader is busy with, or the runtime itself stops (docs/runtimes.md).
    """

    def __init__(self) -> None:
        self._facts: dict[Hashable, T] = {}
        self._arrived = asyncio.Event()

    def put(self, key: Hashable, fact: T) -> None:
        """Leaves a fact for the reader and returns at once."""
        self._facts.pop(key, None)
        self._facts[key] = fact
        self._arrived.set()

    def drain(self) -> list[T]:
        """Takes what has arrived, in order of arrival; maybe nothing."""
        facts = list(self._facts.values())
        self._facts.clear()
        self._arrived.clear()
        return facts

    async def take(self, timeout: float) -> list[T]:
        """Waits up to `timeout` seconds for something to arrive, then drains. A cancelled take
        loses nothing: facts leave the mailbox only in the step that returns them."""
        if not self._facts:
            with anyio.move_on_after(timeout):
                await self._arrived.wait()
        return self.drain()

    def __len__(self) -> int:
        return len(self._facts)


async def give_way(began: float, *, busy: bool) -> None:
    """Between two slices of long work, one of which `began` then (`anyio.current_time`): lets
    whatever waits have its turn. While events come in (`busy`) they get three times what was
    worked, up to a limit: reading one takes a few turns of the event loop, and a runtime must not
    wait for its reader (docs/runtimes.md)."""
    worked = anyio.current_time() - began
    await anyio.sleep(min(3 * worked, LONGEST_TURN) if busy else 0)


async def in_slices(steps: Generator[None, None, T], arrived: Callable[[], int]) -> T:
    """Carries out work that stops at the end of each slice; gives what it returned. `arrived`
    counts something that changes while events come in."""
    count = arrived()
    while True:
        began = anyio.current_time()
        try:
            next(steps)
        except StopIteration as end:
            return cast("T", end.value)
        before, count = count, arrived()
        await give_way(began, busy=count != before)


def backoff_delays(delays: Sequence[float] = DELAYS) -> Iterator[float]:
    """0.1, 0.2, 0.5, ... 30, 30, ... seconds, each up to a fifth longer or shorter, so that a
    thousand nodes do not knock at the same moment."""
    step = 0
    while True:
        yield delays[min(step, len(delays) - 1)] * random.uniform(0.8, 1.2)
        step += 1


class TaskEnded(Exception):
    """A task that should run as long as the process came to its end: the process must end too."""


async def keep_alive(name: str, task: Callable[[], Awaitable[None]]) -> None:
    """Runs a task that must not end; its unexpected end is as loud as its failure."""
    await task()
    raise TaskEnded(f"{name} ended, though it should run for ever")
