"""The mailbox, backoff, and the supervision of a task."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.aiokit import (
    DELAYS,
    Mailbox,
    TaskEnded,
    backoff_delays,
    both,
    give_way,
    run_alongside,
    run_forever,
)
from tests.model.clockwork import VirtualLoop

KEYS = st.sampled_from("abcd")
# A put under a key, or (None) a drain by the reader.
STEPS = st.lists(st.one_of(KEYS, st.none()), max_size=60)


@given(STEPS)
def test_the_latest_fact_of_every_key_arrives_in_order_of_arrival(steps: list[str | None]) -> None:
    """However puts and drains interleave, nothing but an older fact of the same key is lost."""
    mailbox: Mailbox[tuple[str, int]] = Mailbox()
    waiting: dict[str, int] = {}  # what a reader may expect, oldest first
    for number, key in enumerate([*steps, None]):
        if key is None:
            assert mailbox.drain() == list(waiting.items())
            waiting.clear()
            continue
        mailbox.put(key, (key, number))
        waiting.pop(key, None)
        waiting[key] = number
        assert len(mailbox) == len(waiting)


async def test_a_take_gives_what_has_arrived_at_once() -> None:
    """A reader that comes late does not wait for more."""
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put("a", 1)
    mailbox.put("b", 2)
    assert await mailbox.take(3600) == [1, 2]


async def test_a_take_that_nothing_arrives_for_ends_empty() -> None:
    """The loop has things to do by the clock, too."""
    assert await Mailbox[int]().take(0) == []


async def test_a_put_wakes_the_reader() -> None:
    """An event on an idle node is not left until the next period."""
    mailbox: Mailbox[int] = Mailbox()
    taking = asyncio.create_task(mailbox.take(3600))
    await asyncio.sleep(0)
    mailbox.put("a", 1)
    assert await taking == [1]


@pytest.mark.parametrize("before", [True, False])
async def test_a_cancelled_take_loses_nothing(before: bool) -> None:
    """Cut off just before or just after a fact came in: the fact stays for the next take."""
    mailbox: Mailbox[int] = Mailbox()
    taking = asyncio.create_task(mailbox.take(3600))
    await asyncio.sleep(0)
    if before:
        taking.cancel()
    mailbox.put("a", 1)
    if not before:
        taking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await taking
    assert mailbox.drain() == [1]


async def test_a_storm_under_few_keys_stays_small() -> None:
    """A reader that is busy for minutes finds no heap of events that a node's memory pays for."""
    mailbox: Mailbox[int] = Mailbox()
    for number in range(10_000):
        mailbox.put(number % 40, number)
    assert await mailbox.take(0) == list(range(9_960, 10_000))


def test_backoff_grows_to_its_last_step_and_stays_there() -> None:
    """A thousand nodes knock neither all at once nor ever more rarely than every 36 seconds."""
    delays = list(itertools.islice(backoff_delays(), len(DELAYS) + 3))
    expected = [*DELAYS, *[DELAYS[-1]] * 3]
    assert all(0.8 * e <= d <= 1.2 * e for d, e in zip(delays, expected, strict=True))
    assert len(set(delays[-4:])) > 1


async def test_the_unexpected_end_of_a_task_is_as_loud_as_its_failure() -> None:
    """A watcher that ends quietly would leave a daemon that looks well and sees nothing."""

    async def ends() -> None:
        pass

    async def fails() -> None:
        raise OSError("no watches left")

    with pytest.raises(TaskEnded, match="usage probe"):
        await run_forever("usage probe", ends)
    with pytest.raises(OSError, match="no watches left"):
        await run_forever("usage probe", fails)


async def test_a_cancelled_task_ends_quietly() -> None:
    """The end of the process is no failure."""
    with anyio.move_on_after(0) as scope:
        await run_forever("usage probe", anyio.sleep_forever)
    assert scope.cancelled_caught


async def test_of_two_calls_the_first_failure_ends_the_other_and_is_raised_as_it_is() -> None:
    """A list that fails is a failure of the runtime, told in its words, and no group of one."""
    ended: list[str] = []

    async def fails() -> int:
        raise LookupError("no containers to be had")

    async def hangs() -> str:
        try:
            await anyio.sleep(3600)
        finally:
            ended.append("the other")
        return ""

    with pytest.raises(LookupError, match="no containers"):
        await both(fails, hangs)
    assert ended == ["the other"]


async def test_two_calls_made_at_once_wait_for_each_other() -> None:
    """The one that is asked for last may be answered first."""
    told = asyncio.Event()

    async def first() -> int:
        await told.wait()
        return 1

    async def second() -> str:
        told.set()
        return "two"

    assert await both(first, second) == (1, "two")


def slow_reader(waiting: int, read: list[int]) -> asyncio.Task[None]:
    """Reads so many events, each in a few turns of the event loop, as gRPC does."""

    async def reading() -> None:
        for number in range(waiting):
            for _ in range(4):
                await asyncio.sleep(0)
            read.append(number)

    return asyncio.create_task(reading())


def test_events_that_wait_are_read_between_two_slices_of_long_work() -> None:
    """A turn that brings no event is no sign that none waits: the runtime would wait for its
    reader, and on containerd 2 all pods with it."""

    async def work() -> int:
        read: list[int] = []
        reader = slow_reader(200, read)
        await give_way(anyio.current_time() - 1.0, lambda: len(read))
        reader.cancel()
        return len(read)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(work()) == 200


def test_long_work_goes_on_at_once_where_nothing_waits() -> None:
    """An idle node's listing does not take four times as long as it must."""

    async def work() -> float:
        began = anyio.current_time()
        await give_way(began - 1.0, lambda: 0)
        return anyio.current_time() - began

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(work()) == 0


async def test_what_fails_is_raised_as_it_is_and_what_ran_beside_it_ends() -> None:
    """A command's failure must keep its type: its exit code hangs on it."""
    ended = False

    async def runs() -> None:
        nonlocal ended
        try:
            await anyio.sleep_forever()
        finally:
            ended = True

    async def fails() -> int:
        await anyio.lowlevel.checkpoint()
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        await run_alongside(runs, fails)
    assert ended

    async def works() -> int:
        await anyio.lowlevel.checkpoint()
        return 7

    assert await run_alongside(runs, works) == 7
