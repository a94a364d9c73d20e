"""Async tools that know no image: the mailbox, long work in steps, backoff, and the supervision of
a source."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator, Hashable, Iterator, Sequence
from typing import Any, Generic, TypeVar, cast

import anyio
import anyio.lowlevel

T = TypeVar("T")
U = TypeVar("U")

DELAYS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds between tries; the last one repeats
LONGEST_TURN = 0.03  # seconds that long work leaves to others after each of its steps
QUIET_TURNS = 6  # turns of the event loop without an event that end it sooner


class Mailbox(Generic[T]):
    """Facts by key, for one reader. A newer fact of a key replaces the older and goes to the end.

    `put` never waits, whoever calls it: a runtime's event stream must be drained whatever the
    reader is busy with, or the runtime itself stops (docs/runtimes.md).
    """

    def __init__(self) -> None:
        self._facts: dict[Hashable, T] = {}
        self._arrived = asyncio.Event()
        self.received = 0  # facts put so far

    def put(self, key: Hashable, fact: T) -> None:
        """Leaves a fact for the reader and returns at once."""
        self._facts.pop(key, None)
        self._facts[key] = fact
        self.received += 1
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


async def give_way(began: float, arrived: Callable[[], int]) -> None:
    """Between two steps of long work, one of which `began` then (`anyio.current_time`): lets
    whatever waits have its turn, and goes on doing so while events come in, for three times as long
    as was worked, up to a limit: a runtime must not wait for its reader (docs/runtimes.md).
    `arrived` counts the events. Reading one takes a few turns of the event loop, so a turn that
    brings none does not say that none waits."""
    now = anyio.current_time()
    end = now + min(3 * (now - began), LONGEST_TURN)
    count, quiet = arrived(), 0
    while quiet < QUIET_TURNS:
        await anyio.lowlevel.checkpoint()
        before, count = count, arrived()
        quiet = quiet + 1 if count == before else 0
        if anyio.current_time() >= end:
            return


async def run_in_steps(steps: Generator[None, None, T], arrived: Callable[[], int]) -> T:
    """Carries out work that stops at the end of each step, and gives way there; gives what it
    returned."""
    while True:
        began = anyio.current_time()
        try:
            next(steps)
        except StopIteration as end:
            return cast("T", end.value)
        await give_way(began, arrived)


async def both(
    first: Callable[[], Awaitable[T]], second: Callable[[], Awaitable[U]]
) -> tuple[T, U]:
    """What two calls made at once give. The first that fails ends the other, and its failure is
    raised as it is."""
    found: dict[str, object] = {}

    async def kept(name: str, call: Callable[[], Awaitable[object]]) -> None:
        found[name] = await call()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(kept, "first", first)
            group.start_soon(kept, "second", second)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return cast("T", found["first"]), cast("U", found["second"])


async def run_alongside(
    task: Callable[[], Coroutine[Any, Any, None]], work: Callable[[], Awaitable[T]]
) -> T:
    """What `work` gives, with a task beside it that ends with it. The first that fails ends the
    other, and its failure is raised as it is."""
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(task)
            found = await work()
            group.cancel_scope.cancel()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return found


def backoff_delays(delays: Sequence[float] = DELAYS) -> Iterator[float]:
    """0.1, 0.2, 0.5, ... 30, 30, ... seconds, each up to a fifth longer or shorter, so that a
    thousand nodes do not knock at the same moment."""
    step = 0
    while True:
        yield delays[min(step, len(delays) - 1)] * random.uniform(0.8, 1.2)
        step += 1


class TaskEnded(Exception):
    """A task that should run as long as the process came to its end: the process must end too."""


async def run_forever(name: str, task: Callable[[], Awaitable[None]]) -> None:
    """Runs a task that must not end; its unexpected end is as loud as its failure."""
    await task()
    raise TaskEnded(f"{name} ended, though it should run for ever")
