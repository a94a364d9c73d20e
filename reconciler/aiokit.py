"""Async tools that know nothing of images: the mailbox, long work in steps, backoff, supervision of
tasks."""

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
LONGEST_TURN = 0.03  # seconds that long work leaves to other tasks after each step
QUIET_TURNS = 6  # turns of the event loop without an event that end that time sooner


class Mailbox(Generic[T]):
    """Facts by key, for one reader. A newer fact of a key replaces the older and goes to the end.

    `put` never waits: a runtime's event stream must be drained even while the reader is busy, or
    the runtime itself stops (docs/runtimes.md).
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
        """Takes what has arrived, in order of arrival; possibly nothing."""
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
    """Lets waiting tasks run between two steps of long work, of which the last `began` then
    (`anyio.current_time`). Goes on while events come in, for up to three times as long as the step
    took, within a limit: a runtime must not wait for its reader (docs/runtimes.md). `arrived`
    counts the events. Reading one takes a few turns of the event loop, so a turn without one does
    not mean that none waits."""
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
    """Runs work in steps, giving way after each; returns its result."""
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
    """Returns the results of two calls made concurrently. If one fails, the other is cancelled and
    the failure is raised as it is."""
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
    """Returns the result of `work`, with `task` running in the background until then. If one fails,
    the other is cancelled and the failure is raised as it is."""
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
    thousand nodes do not call at the same moment."""
    step = 0
    while True:
        yield delays[min(step, len(delays) - 1)] * random.uniform(0.8, 1.2)
        step += 1


class TaskEnded(Exception):
    """A task that should run as long as the process has ended: the process must end too."""


async def run_forever(name: str, task: Callable[[], Awaitable[None]]) -> None:
    """Runs a task that must not end; raises TaskEnded if it does."""
    await task()
    raise TaskEnded(f"{name} ended, though it should run for ever")
