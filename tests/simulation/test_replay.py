"""The simulated node: what it counts, and that it removes by the daemon's own order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.domain.inventory import Image
from reconciler.domain.keepscore import Appraiser, removal_order
from reconciler.domain.streams import streams
from reconciler.simulation.budget import SHARES, disk_for
from reconciler.simulation.orders import ORDERS, Keepscore, Lru, Order
from reconciler.simulation.replay import FIXED, SPEED, Marks, Replay
from reconciler.simulation.trace import DAY, HOUR, MB, Start, Trace
from reconciler.simulation.workloads import PARTS, workload

MARKS = Marks(0.85, 0.80)


def past(*starts: tuple[float, str], sizes: dict[str, float]) -> Trace:
    """Containers of five minutes each, from images of one layer of so many MB, nothing unpacked."""
    names = list(sizes)
    images = [
        Image(f"sha256:{number:064x}", (f"r.io/{name}:v1",), (), int(sizes[name] * MB))
        for number, name in enumerate(names)
    ]
    return Trace(
        "story",
        [size * MB for size in sizes.values()],
        [0.0] * len(names),
        [(number,) for number in range(len(names))],
        images,
        [Start(at, 300, names.index(name)) for at, name in starts],
        warm=0,
        end=DAY,
    )


def test_on_an_infinite_disk_nothing_is_avoidable() -> None:
    """First pulls are the same for every order: they are not counted."""
    trace = workload("cron3", 1)
    outcome = Replay(trace, 1e18, Keepscore(trace), MARKS).run()
    assert (outcome.cold, outcome.again, outcome.delay, outcome.removals) == (0, 0.0, 0.0, 0)
    assert outcome.starts > 5000


def test_what_was_removed_and_is_started_again_is_counted() -> None:
    """Two images that do not fit together: the second start of the first waits for its pull."""
    trace = past((0, "a"), (2 * HOUR, "b"), (4 * HOUR, "a"), sizes={"a": 600, "b": 600})
    outcome = Replay(trace, 1000 * MB, Lru(trace), MARKS).run()
    assert (outcome.starts, outcome.cold, outcome.removals) == (3, 1, 2)
    assert outcome.again == 600 * MB
    assert outcome.delay == FIXED + 600 * MB / SPEED


def test_an_image_in_use_is_never_removed() -> None:
    """The disk is far too small: the pull does not fit, and what runs stays nevertheless."""
    trace = past((0, "a"), (60, "b"), (120, "a"), sizes={"a": 600, "b": 600})
    outcome = Replay(trace, 1000 * MB, Lru(trace), MARKS).run()
    assert outcome.emergencies == 1
    assert outcome.cold == 0


def test_kubelet_adds_up_listed_sizes_and_removes_too_much() -> None:
    """containerd lists packed sizes and keeps both forms: kubelet goes on long past enough."""
    sizes = {f"app{number}": 100.0 for number in range(9)}
    starts = [(number * HOUR, name) for number, name in enumerate(sizes)]
    trace = past(*starts, sizes=sizes)
    trace.unpacked = [200 * MB] * 9
    left = {
        name: Replay(trace, 2500 * MB, ORDERS[name](trace), Marks(0.85, 0.7)).run().removals
        for name in ("lru", "kubelet")
    }
    assert left["kubelet"] > left["lru"]


class Checked(Keepscore):
    """Beside each choice, all candidates are ranked anew as the daemon would."""

    choices = 0

    def victims(self, candidates: set[int], at: float) -> Iterator[int]:
        left = set(candidates)
        for victim in super().victims(candidates, at):
            assert victim == min(left, key=lambda image: self._place(image, at))
            self.choices += 1
            left.discard(victim)
            yield victim

    def _place(self, image: int, at: float) -> tuple[float, float, str]:
        memory, one = self._memory, self._trace.images[image]
        record = memory.images[one.key]
        appraiser = Appraiser(memory.arrivals, at, unpacked=self._trace.crio)
        return removal_order(appraiser.score(one, record), one, record)


def test_every_choice_is_the_first_of_the_daemons_own_order() -> None:
    """The simulation ranks once for many removals; ranked anew at each it must come to the same."""
    trace = workload("svc", 2)
    order = Checked(trace)
    Replay(trace, disk_for(trace, SHARES["medium"]), order, MARKS).run()
    assert order.choices > 100


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
    found = {stream for image in trace.images for stream, _ in streams(image.tags)}
    repositories = {repository for image in trace.images for _, repository in streams(image.tags)}
    assert 80 <= len(found) < len(trace.images) / 2
    assert len(repositories) < 80


def test_the_share_of_needless_waits_is_what_the_disk_was_chosen_for() -> None:
    """Medium means that closed-loop LRU lets one start in twenty wait needlessly."""
    trace = workload("batch", 1)
    order: Order = Lru(trace)
    outcome = Replay(trace, disk_for(trace, SHARES["medium"]), order, MARKS).run()
    assert outcome.cold / outcome.starts == pytest.approx(0.05, rel=0.1)
    assert 0.7 < outcome.mean_use < 0.85
