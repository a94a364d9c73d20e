"""Ask the runtime for a complete listing, and for the details that no listing contains.

Images are listed before containers (in `ImageRuntime.list_all`), so that a container made between
the two calls is seen as a user of an image that is not a candidate yet; the other order misses it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import anyio

from ..aiokit import give_way
from ..domain.absorb import absorb
from ..domain.facts import AskFailed, Fact, Listed, PauseReported, VolumesReported
from ..domain.runtime import ImageRuntime, NoSuchObject, RuntimeFailure, RuntimeVersion
from ..domain.state import State
from .dependencies import Dependencies
from .schedule import ASK_AGAIN, ASK_NARROWED, CALM_SPACING, Schedule

AT_ONCE = 6  # questions in flight: with 16 of them events waited up to a second to be read
STEP = 256  # questions before the loop looks at its mailbox again

Arrived = Callable[[], int]  # how many events came so far (`aiokit.give_way`)


def no_events() -> int:
    """Counts no events, for commands that read none."""
    return 0


async def observe(
    runtime: ImageRuntime, version: RuntimeVersion | None, pause: str | None = None
) -> Listed:
    """Lists everything. The runtime's version and pause image are asked for if not given. Raises
    RuntimeUnavailable or RuntimeRefused: a listing is complete, or there is none."""
    if version is None:
        version = await runtime.version()
        pause = await runtime.configured_pause()
    return Listed(await runtime.list_all(), version, pause)


async def ask(
    runtime: ImageRuntime, state: State, clock: Callable[[], float], arrived: Arrived = no_events
) -> bool:
    """Asks for some of the image volumes and pause images that hold all removal and absorbs the
    answers; returns whether any are left. A question that fails stays open, and so does its hold,
    until it narrows."""
    await _ask_about(state.pending(clock())[:STEP], runtime, state, clock, arrived)
    return bool(state.pending(clock()))


async def ask_again(
    runtime: ImageRuntime, state: State, clock: Callable[[], float], arrived: Arrived = no_events
) -> None:
    """Asks a few of the questions again whose doubt has narrowed."""
    await _ask_about(state.narrowed(clock())[:AT_ONCE], runtime, state, clock, arrived)


class Questions:
    """The loop's questions on what no listing contains, with a pause after a failure."""

    def __init__(self, deps: Dependencies, state: State, schedule: Schedule) -> None:
        self._deps, self._state, self._schedule = deps, state, schedule

    def open(self, now: float) -> bool:
        """Whether a question holds removal and may be asked now."""
        return now >= self._schedule.ask_not_before and bool(self._state.pending(now))

    async def ask(self) -> None:
        """Asks some of the questions that hold all removal."""
        deps, state = self._deps, self._state
        now = deps.clock()
        if now < self._schedule.ask_not_before:
            return
        before = len(state.pending(now))
        await ask(deps.runtime, state, deps.clock, self._arrived)
        now = deps.clock()  # answers may take their whole deadline to fail
        if state.runtime.ask_trouble is not None:
            self._schedule.ask_not_before = now + ASK_AGAIN
        elif len(state.pending(now)) >= before > 0:
            # By now all are gone, says the runtime: a listing settles that, asking does not.
            self._schedule.ask_not_before = now + CALM_SPACING

    async def ask_again(self) -> None:
        """Asks some of the questions that no longer hold removal."""
        deps, now = self._deps, self._deps.clock()
        if self._state.narrowed(now) and now >= self._schedule.ask_again_not_before:
            await ask_again(deps.runtime, self._state, deps.clock, self._arrived)
            self._schedule.ask_again_not_before = deps.clock() + ASK_NARROWED

    def _arrived(self) -> int:
        return self._deps.mailbox.received


async def _ask_about(
    subjects: list[str],
    runtime: ImageRuntime,
    state: State,
    clock: Callable[[], float],
    arrived: Arrived,
) -> None:
    async def volumes(container_id: str) -> Fact:
        return VolumesReported(clock(), container_id, await runtime.volumes_of(container_id))

    async def pause(sandbox_id: str) -> Fact:
        return PauseReported(clock(), sandbox_id, await runtime.pause_of(sandbox_id))

    boxes = state.graph.unasked_sandboxes
    await _few_at_once(
        [
            partial(_ask_one, state, pause if one in boxes else volumes, one, clock)
            for one in subjects
        ],
        arrived,
    )


async def _few_at_once(
    questions: Sequence[Callable[[], Coroutine[Any, Any, None]]], arrived: Arrived
) -> None:
    """Asks a few questions at a time, and gives way to the reader of events after each batch."""
    for first in range(0, len(questions), AT_ONCE):
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            for question in questions[first : first + AT_ONCE]:
                group.start_soon(question)
        await give_way(began, arrived)


async def _ask_one(
    state: State,
    question: Callable[[str], Awaitable[Fact]],
    subject: str,
    clock: Callable[[], float],
) -> None:
    try:
        fact = await question(subject)
    except NoSuchObject as denial:
        fact = AskFailed(clock(), subject, str(denial), denied=True)
    except RuntimeFailure as failure:
        fact = AskFailed(clock(), subject, str(failure))
    absorb(fact, state)
