"""What no list contains is asked for one by one, and nothing else waits for that."""

from __future__ import annotations

import asyncio

from reconciler.engine.observe import ask
from tests.builders import sandbox, state_of
from tests.model.clockwork import VirtualLoop

from .world import Clock, FakeRuntime

EVENTS = 600  # that wait to be read
BOXES = tuple(sandbox(f"box{number}", pause=None) for number in range(120))


def read_meanwhile(loop: VirtualLoop) -> int:
    """How many events were read by the time that all was asked. A question is a millisecond of
    work, and an event a tenth of one and four turns of the event loop."""
    clock, read = Clock(), 0
    runtime = FakeRuntime(clock, sandboxes={box.id: box for box in BOXES})
    runtime.during["pause_of"] = lambda: loop.leap(0.001)
    state = state_of(sandboxes=BOXES)

    async def reading() -> None:
        nonlocal read
        while read < EVENTS:
            for _ in range(4):
                await asyncio.sleep(0)
            loop.leap(0.0001)
            read += 1

    async def asking() -> int:
        reader = asyncio.create_task(reading())
        await ask(runtime, state, clock, lambda: read)
        reader.cancel()
        return read

    found = loop.run_until_complete(asking())
    assert not state.graph.unasked_sandboxes
    return found


def test_questions_about_a_storm_of_pods_keep_no_event_waiting() -> None:
    """Each new pod is a question, and while they were asked its reader got one event a turn: a
    runtime that waits for its reader makes no pods."""
    loop = VirtualLoop()
    assert read_meanwhile(loop) == EVENTS
    loop.close()
