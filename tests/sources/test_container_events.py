"""The event stream: always drained, reopened when it ends, and what each end means."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from reconciler.aiokit import DELAYS, Mailbox
from reconciler.domain.facts import ContainerChanged, EventsAbsent, EventsLost, EventsOpened, Fact
from reconciler.domain.inventory import ContainerEvent, EventKind
from reconciler.domain.runtime import EventsUnsupported, RuntimeUnavailable
from reconciler.sources.container_events import ASK_AGAIN, BURST, SECOND_TRY, EventWatch
from tests.builders import T0, digest, image, policy
from tests.engine.world import Clock, FakeRuntime, StreamPart, World

BROKEN = RuntimeUnavailable("UNAVAILABLE: Stream removed (Socket closed)")


def event(number: int = 0, kind: EventKind = EventKind.CREATED) -> ContainerEvent:
    return ContainerEvent(digest(f"c{number}"), kind, T0)


class Story:
    """A runtime whose streams are scripted, and what the watch left in the mailbox."""

    def __init__(self, *streams: Sequence[StreamPart], lasting: float = 0.0) -> None:
        self.clock = Clock()
        self.runtime = FakeRuntime(self.clock)
        self.runtime.streams = list(streams)
        self.runtime.during["container_events"] = lambda: self.clock.advance(lasting)
        self.mailbox: Mailbox[Fact] = Mailbox()
        self.watch = EventWatch(self.runtime, self.mailbox, self.clock)

    async def once(self) -> tuple[list[Fact], float]:
        """One subscription: the facts it left, and how long the next one waits."""
        delay = await self.watch.once()
        return self.mailbox.drain(), delay


def near(step: int) -> object:
    """That step of the backoff, with its jitter."""
    return pytest.approx(DELAYS[step], rel=0.21)


async def test_a_runtime_without_events_is_asked_again_rarely() -> None:
    """containerd 1.6 answers UNIMPLEMENTED: reported as it is, and not tried every second."""
    facts, delay = await Story([EventsUnsupported("not implemented")]).once()
    assert [type(fact) for fact in facts] == [EventsOpened, EventsAbsent]
    assert delay == ASK_AGAIN


async def test_a_clean_end_at_once_twice_means_that_events_are_off() -> None:
    """CRI-O's default: OK, no event, within a millisecond. A naive reconnect would call 1,900
    times a second."""
    story = Story([None], [None], [None])
    first, delay = await story.once()
    assert [type(fact) for fact in first] == [EventsOpened]
    assert delay == SECOND_TRY
    second, delay = await story.once()
    absent = second[-1]
    assert isinstance(absent, EventsAbsent)
    assert "enable_pod_events" in absent.reason
    assert delay == ASK_AGAIN
    third, _ = await story.once()
    assert isinstance(third[-1], EventsAbsent)


async def test_a_clean_end_at_once_from_a_runtime_that_does_not_answer_is_a_loss() -> None:
    """It is going down: nothing is known of its events."""
    story = Story([None], [None], [None])
    story.runtime.fails["version"] = BROKEN
    for step in range(3):
        facts, delay = await story.once()
        assert isinstance(facts[-1], EventsLost)
        assert delay == near(step)


async def test_a_clean_end_after_a_while_is_a_shutdown() -> None:
    """CRI-O ends its streams with OK when it is stopped, also one that had nothing to say."""
    for streams, lasting in (([event(), None], 0.0), ([None], 30.0)):
        facts, delay = await Story(streams, lasting=lasting).once()
        assert isinstance(facts[-1], EventsLost)
        assert delay == near(0)


async def test_clean_ends_with_a_healthy_stream_between_them_are_no_sign() -> None:
    """Only twice in a row means off."""
    endings: list[list[StreamPart]] = [[event(), None], [event(), BROKEN], [BROKEN]]
    for between in endings:
        story = Story([None], between, [None])
        kinds = [type((await story.once())[0][-1]) for _ in range(3)]
        assert kinds == [EventsOpened, EventsLost, EventsOpened]


async def test_a_start_with_events_off_is_no_loss() -> None:
    """CRI-O's default: each start reported and counted a loss, then that there is no stream."""
    with structlog.testing.capture_logs() as log:
        world = World(policy())
        world.runtime.streams = [[None], [None]]
        watch = EventWatch(world.runtime, world.mailbox, world.clock)
        delays = []
        for _ in range(2):
            delays.append(await watch.once())
            await world.turns(1)
    assert delays == [SECOND_TRY, ASK_AGAIN]
    events = [line["event"] for line in log if line["event"].startswith("events-")]
    assert events == ["events-absent"]
    metrics = world.journal.metrics.registry
    assert metrics.get_sample_value("reconciler_event_stream_losses_total") == 0
    assert metrics.get_sample_value("reconciler_event_stream_up") == 0


async def test_a_runtime_that_is_away_is_asked_less_and_less_often() -> None:
    """UNAVAILABLE: from a tenth of a second to half a minute, and no further."""
    story = Story(*[[BROKEN] for _ in range(len(DELAYS) + 2)])
    delays = [(await story.once())[1] for _ in range(len(DELAYS) + 2)]
    assert delays == [near(min(step, len(DELAYS) - 1)) for step in range(len(delays))]


async def test_a_healthy_minute_starts_the_backoff_over() -> None:
    """A runtime that is restarted once a day is back at once each time."""
    story = Story([BROKEN], [BROKEN], [BROKEN], [event(), BROKEN])
    for _ in range(3):
        await story.once()
    story.runtime.during["container_events"] = lambda: story.clock.advance(61)
    _, delay = await story.once()
    assert delay == near(0)


async def test_every_end_is_followed_by_another_subscription() -> None:
    """The watch survives every failure, for as long as the process lives."""
    story = Story([event(1), BROKEN], [None], [event(2), None])
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise asyncio.CancelledError

    watch = EventWatch(story.runtime, story.mailbox, story.clock, sleep)
    with pytest.raises(asyncio.CancelledError):
        await watch.run()
    subjects = [
        f.event.subject_id for f in story.mailbox.drain() if isinstance(f, ContainerChanged)
    ]
    assert subjects == [digest("c1"), digest("c2")]


async def test_a_burst_is_drained_while_the_reader_is_busy() -> None:
    """On containerd 2.x a subscriber that stops reading stops pod creation: 20,000 events are read
    though nobody takes them, and everything else on the loop gets its turn."""
    storm: list[StreamPart] = [event(n % 50, EventKind(n % 3)) for n in range(20_000)]
    story = Story([*storm, None])
    others = 0

    async def live() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(live())
    facts, _ = await story.once()
    other.cancel()
    assert others >= len(storm) // BURST
    latest = {(f.event.subject_id, f.event.kind) for f in facts if isinstance(f, ContainerChanged)}
    assert len(latest) == 150
    assert len(facts) == 152


async def test_a_stream_that_stalls_is_made_up_for_by_listings() -> None:
    """A silent stream is no fault, so nothing shows that it is dead: every half minute a listing
    shows what it kept back."""
    world = World(policy())
    app = image("app:v1")
    world.runtime.have(app)
    world.mailbox.put("stream", EventsOpened(world.clock()))
    await world.turns(5)
    pulled = image("new:v1")
    world.runtime.have(pulled)
    await world.turns(31)
    assert pulled.key in world.state.graph.images


async def test_a_node_without_events_is_listed_every_few_seconds() -> None:
    """Without a stream the listings are all there is."""
    world = World(policy())
    await world.turn()
    world.mailbox.put("stream", EventsAbsent(world.clock(), "not implemented"))
    before = world.runtime.listings
    await world.turns(60)
    assert 11 <= world.runtime.listings - before <= 14


async def test_a_subscription_is_followed_by_two_listings() -> None:
    """No runtime acknowledges it: what happened before it took effect is seen by the second."""
    world = World(policy())
    await world.turn()
    world.mailbox.put("stream", EventsOpened(world.clock()))
    before = world.runtime.listings
    await world.turns(10)
    assert world.runtime.listings - before == 2
