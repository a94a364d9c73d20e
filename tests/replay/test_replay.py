"""The simulated node: pulls that take their time, what is counted of them, and who goes first."""

from __future__ import annotations

import pytest

from reconciler.domain.ranking.keepscore import Appraiser, removal_order
from reconciler.domain.ranking.tag_series import tag_series
from reconciler.replay.budget import SHARES, disk_for
from reconciler.replay.daemon import AUTO, Marks
from reconciler.replay.orders import ORDERS, Keepscore, Lru, MayGo
from reconciler.replay.outcome import Outcome
from reconciler.replay.replay import Replay
from reconciler.replay.trace import DAY, HOUR, MB, Trace
from reconciler.replay.workloads import PARTS, workload

from .past import past, pull_of

MARKS = Marks(0.85, 0.80)


def alone(trace: Trace, disk: float, marks: Marks = MARKS) -> Outcome:
    """Without kubelet, least recently used first; the disk in MB."""
    return Replay(trace, disk * MB, Lru(trace), marks, None).run()


def first_days(trace: Trace, days: int) -> Trace:
    """Half of them are the warm-up."""
    trace.warm, trace.end = days * DAY / 2, days * DAY
    trace.starts = [start for start in trace.starts if start.at < trace.end]
    return trace


def test_on_an_infinite_disk_nothing_is_avoidable() -> None:
    """First pulls are the same for every order: they are not counted."""
    trace = first_days(workload("cron3", 1), 10)
    outcome = Replay(trace, 1e18, Keepscore(trace)).run()
    assert (outcome.cold, outcome.pulled_again, outcome.removals) == (0, 0.0, 0)
    assert outcome.delay == pytest.approx(0, abs=1e-3)
    assert outcome.starts > 1000


def test_what_was_removed_and_is_started_again_is_counted() -> None:
    """Two images that do not fit together: the second start of the first waits for its pull."""
    trace = past((0, "a"), (2 * HOUR, "b"), (4 * HOUR, "a"), sizes={"a": 600, "b": 300})
    outcome = alone(trace, 1000)
    assert (outcome.starts, outcome.cold, outcome.emergencies) == (3, 1, 0)
    assert outcome.pulled_again == 600 * MB
    assert outcome.delay == pytest.approx(pull_of(600))


def test_a_start_during_a_pull_waits_for_the_rest_of_it() -> None:
    """Nobody pulls twice at once; a pod that comes in the middle waits half as long."""
    again = 4 * HOUR
    middle = again + pull_of(600) / 2
    starts = (0, "a"), (2 * HOUR, "b"), (again, "a"), (middle, "a")
    outcome = alone(past(*starts, sizes={"a": 600, "b": 300}), 1000)
    assert (outcome.starts, outcome.cold) == (4, 2)
    assert outcome.pulled_again == 600 * MB
    assert outcome.delay == pytest.approx(1.5 * pull_of(600))


def test_a_layer_that_is_here_or_on_its_way_is_not_pulled_again() -> None:
    """Two images on one base, started a second apart: the base comes once, and both wait for it."""
    trace = past(
        (0, "a"),
        (1, "b"),
        sizes={"base": 500, "mine": 10, "yours": 10},
        layers={"a": ("base", "mine"), "b": ("base", "yours")},
    )
    replay = Replay(trace, 10_000 * MB, Lru(trace), MARKS, None)
    outcome = replay.run()
    assert replay.disk.used == pytest.approx(520 * MB)
    assert outcome.delay == pytest.approx(0)  # an infinite disk would have spared none of it
    assert replay.disk.images[1] > pull_of(500)


def test_a_pull_fills_the_disk_as_it_goes() -> None:
    """Half-way through its bytes, half of them are there: the mean use over the day says so."""
    trace = past((0, "a"), sizes={"a": 500})
    trace.end = pull_of(500)
    assert alone(trace, 1000).mean_use == pytest.approx(0.25 * 10 / 11.5)


def test_an_image_in_use_is_never_removed() -> None:
    """The disk is far too small: the pull fails again and again, and what runs stays."""
    trace = past((0, "a"), (60, "b"), (120, "a"), sizes={"a": 600, "b": 600}, lasts=HOUR)
    outcome = alone(trace, 1000)
    assert outcome.emergencies > 3
    assert outcome.cold == 0


def test_a_pull_that_fails_for_a_week_is_still_tried_again() -> None:
    """Every five minutes in the end, thousands of times, and no number gets too large."""
    trace = past((0, "a"), (60, "b"), sizes={"a": 600, "b": 600}, lasts=7 * DAY)
    trace.end = 8 * DAY
    replay = Replay(trace, 1000 * MB, Lru(trace), MARKS, None)
    assert replay.run().emergencies > 1900
    assert 1 in replay.disk.images


def test_a_pull_that_failed_is_there_once_there_is_room() -> None:
    """What filled the disk ended: the image comes, and its container runs."""
    trace = past((0, "a"), (60, "b"), sizes={"a": 600, "b": 600}, lasts=600)
    replay = Replay(trace, 1000 * MB, Lru(trace), MARKS, None)
    outcome = replay.run()
    assert outcome.emergencies
    assert 1 in replay.disk.images


def test_the_disk_is_never_fuller_than_full() -> None:
    """A mean use of 948 % was printed once: what does not fit is not there."""
    trace = past((0, "a"), (60, "b"), sizes={"a": 600, "b": 900}, lasts=2 * HOUR, other=300)
    assert 0.3 < alone(trace, 1000).mean_use <= 1.0
    crowded = past((0, "a"), sizes={"a": 600}, other=5000)
    assert alone(crowded, 1000).mean_use <= 1.0


def test_every_byte_on_the_disk_is_some_images() -> None:
    """Pulls that fail side by side, on layers they share, leave nothing behind and take nothing."""
    trace = past(
        *((at, name) for at in range(0, 20_000, 900) for name in ("a", "b", "c")),
        sizes={"base": 400, "mine": 300, "yours": 350, "other": 500},
        layers={"a": ("base", "mine"), "b": ("base", "yours"), "c": ("other", "mine")},
        other=50,
    )
    replay = Replay(trace, 1000 * MB, Lru(trace), MARKS)
    assert replay.run().emergencies
    disk = replay.disk
    here = {layer for image in disk.images for layer in trace.layers[image]}
    written = sum(pull.written(disk.at) for pull in disk.pulls.values())
    assert disk.used == pytest.approx(trace.other + sum(map(trace.on_disk, here)) + written)


def test_auto_marks_are_under_kubelets_line_and_use_the_disk_up_to_there() -> None:
    """A node that has seen enough crossings stands a narrow margin under 84 %."""
    trace = first_days(workload("cron3", 1), 8)
    replay = Replay(trace, 40_000 * MB, Keepscore(trace), AUTO)
    outcome = replay.run()
    assert replay.daemon is not None
    assert 0.82 < replay.daemon.high / replay.disk.capacity < 0.84
    assert outcome.overshoots
    assert max(outcome.overshoots) < 0.01
    assert outcome.mean_use > 0.8


class Checked(Keepscore):
    """With each choice, all that may go are ranked again as the daemon would."""

    choices = 0

    def first(self, may_go: MayGo, at: float) -> int | None:
        found = super().first(may_go, at)
        here = (number for number, key in enumerate(self._keys) if key in self._memory.images)
        able = [image for image in here if may_go(image)]
        assert found == min(able, key=lambda image: self._place(image, at), default=None)
        self.choices += 1
        return found

    def _place(self, image: int, at: float) -> tuple[float, float, str]:
        memory, one = self._memory, self._trace.images[image]
        record = memory.images[one.key]
        appraiser = Appraiser(memory.arrivals, at, unpacked=self._trace.crio)
        return removal_order(appraiser.score(one, record), one, record)


@pytest.mark.parametrize(("name", "disk"), [("svc", 40_000), ("cron3", 20_000)])
def test_every_choice_is_the_first_of_the_daemons_own_order(name: str, disk: int) -> None:
    """Only images that could be first are scored again; the result is the same as scoring all."""
    trace = first_days(workload(name, 2), 4)
    order = Checked(trace)
    Replay(trace, disk * MB, order).run()
    assert order.choices > 100


def test_least_recently_used_goes_first() -> None:
    """`lru` is what it says: the image whose last container ended first is the one that is gone."""
    trace = past((0, "a"), (HOUR, "b"), (2 * HOUR, "c"), sizes={"a": 300, "b": 300, "c": 400})
    replay = Replay(trace, 1100 * MB, ORDERS["lru"](trace), MARKS, None)
    replay.run()
    assert set(replay.disk.images) == {1, 2}


@pytest.mark.parametrize(
    ("name", "starts", "images"),
    [
        ("svc", 4365, 825),
        ("batch", 8499, 2405),
        ("cron3", 10657, 504),
        ("cron1", 30461, 589),
        ("ci", 11319, 3011),
        ("ml", 3482, 330),
        ("mixed", 11630, 2336),
        ("mono", 4307, 824),
    ],
)
def test_a_name_and_a_seed_are_the_same_past_for_ever(name: str, starts: int, images: int) -> None:
    """Figures can only be compared while nobody moves a draw."""
    assert name in PARTS
    trace = workload(name, 1)
    assert (len(trace.starts), len(trace.images)) == (starts, images)


def test_versions_of_a_made_up_app_are_one_stream_and_apps_that_share_a_repository_are_not() -> (
    None
):
    """The catalogue's tags say to the score what the catalogue means."""
    trace = workload("svc", 1)
    found = {series for image in trace.images for series, _ in tag_series(image.tags)}
    repositories = {
        repository for image in trace.images for _, repository in tag_series(image.tags)
    }
    assert 80 <= len(found) < len(trace.images) / 2
    assert len(repositories) < 80


def test_the_share_of_needless_waits_is_what_the_disk_was_chosen_for() -> None:
    """Medium means that closed-loop LRU lets one start in twenty wait needlessly."""
    trace = workload("svc", 1)
    outcome = alone(trace, disk_for(trace, SHARES["medium"]) / MB)
    assert outcome.cold / outcome.starts == pytest.approx(0.05, rel=0.1)
    assert 0.7 < outcome.mean_use < 0.85
