"""kubelet in a replay: when it acts, alone and with us, and what we could have prevented."""

from __future__ import annotations

from reconciler.replay.daemon import AUTO, Marks
from reconciler.replay.kubelet import AS_SHIPPED, GC_ALONE, KubeletSettings, gc_at
from reconciler.replay.orders import Lru
from reconciler.replay.outcome import IN_USE, PULLED, YOUNG, Outcome
from reconciler.replay.replay import Replay
from reconciler.replay.trace import HOUR, MB, Trace

from .past import past

DISK = 1000  # MB


def alone(trace: Trace, kubelet: KubeletSettings = AS_SHIPPED) -> Replay:
    replay = Replay(trace, DISK * MB, None, kubelet=kubelet)
    replay.run()
    return replay


def with_reconciler(trace: Trace, marks: Marks = AUTO) -> Outcome:
    return Replay(trace, DISK * MB, Lru(trace), marks).run()


def test_it_collects_from_one_percent_below_its_setting_on() -> None:
    """imageGCHighThresholdPercent 85 acts above 84 %, since what is free is rounded down."""
    for used, gone in ((839, False), (845, True)):
        trace = past((0, "a"), (HOUR, "b"), sizes={"a": 300, "b": used - 300})
        assert (0 not in alone(trace).disk.images) is gone, used


def test_it_looks_every_five_minutes_and_not_before() -> None:
    """A disk that is too full for four minutes does not concern it yet."""
    begun = HOUR + 10
    trace = past((0, "a"), (begun, "b"), sizes={"a": 300, "b": 545})
    for end, there in ((HOUR + 299, True), (HOUR + 301, False)):
        trace.end = end
        assert (0 in alone(trace).disk.images) is there, end


def test_it_adds_up_listed_sizes_and_removes_too_much() -> None:
    """containerd lists packed sizes and keeps both forms: kubelet goes on long past enough."""
    names = [f"app{number}" for number in range(9)]
    trace = past(
        *((number * HOUR, name) for number, name in enumerate(names)),
        sizes=dict.fromkeys(names, 100.0),
    )
    trace.unpacked = [200 * MB] * 9
    replays = [
        Replay(trace, 2500 * MB, Lru(trace), Marks(0.85, 0.7), None),
        Replay(trace, 2500 * MB, None, kubelet=gc_at(0.85, 0.7)),
    ]
    ours, kubelets = (replay.run().removals for replay in replays)
    assert kubelets > ours


def test_below_what_must_be_free_it_removes_everything_unused() -> None:
    """Ten seconds over 85 %, and the whole cache is gone, no matter what would have been enough."""
    sizes = {"a": 100, "b": 100, "c": 100, "big": 600}
    trace = past((0, "a"), (60, "b"), (120, "c"), (HOUR, "big"), sizes=sizes)
    trace.end = HOUR + 100
    replay = alone(trace)
    assert set(replay.disk.images) == {3}


def test_it_leaves_alone_what_it_saw_first_less_than_two_minutes_ago() -> None:
    """DeleteUnusedImages goes through freeSpace, which keeps the minimum age."""
    sizes = {"old": 100, "young": 100, "big": 700}
    trace = past((0, "old"), (HOUR, "young"), (HOUR + 5, "big"), sizes=sizes, lasts=1, lingers=0)
    trace.end = HOUR + 40
    assert set(alone(trace).disk.images) == {1, 2}


def test_where_images_are_not_enough_a_pod_goes() -> None:
    """All that is left is in use: one pod each time; its collector alone evicts none."""
    sizes = {"a": 300, "b": 300, "c": 300}
    starts = (0, "a"), (HOUR, "b"), (2 * HOUR, "c")
    trace = past(*starts, sizes=sizes, lasts=5 * HOUR)
    outcome = Replay(trace, DISK * MB, None).run()
    assert outcome.pods_evicted > 0
    assert Replay(trace, DISK * MB, None, kubelet=GC_ALONE).run().pods_evicted == 0


def test_it_does_not_act_while_we_may_remove_something() -> None:
    """Twenty images in turn on a disk for seven: we stay under its lines, alone it acts."""
    names = [f"app{number}" for number in range(20)]
    starts = [(number * HOUR, names[number % 20]) for number in range(23)]
    trace = past(*starts, sizes=dict.fromkeys(names, 110.0))
    outcome = with_reconciler(trace)
    assert (outcome.acts, outcome.preventable, outcome.by_kubelet) == (0, 0, 0)
    assert outcome.removals > 10
    assert Replay(trace, DISK * MB, None).run().acts > 0


def test_marks_above_its_lines_leave_the_work_to_it_and_that_counts_as_preventable() -> None:
    """90/88 on a stock kubelet: it removes all that goes."""
    names = [f"app{number}" for number in range(20)]
    trace = past(
        *((number * HOUR, name) for number, name in enumerate(names)),
        sizes=dict.fromkeys(names, 110.0),
    )
    outcome = with_reconciler(trace, Marks(0.90, 0.88))
    assert outcome.by_kubelet == outcome.removals > 0
    assert outcome.preventable > 0


def test_an_act_that_we_could_not_prevent_says_why() -> None:
    """All is in use, being pulled, or too young."""
    running = past((0, "a"), sizes={"a": 450}, lasts=5 * HOUR, other=430)
    coming = past((0, "a"), (HOUR, "b"), sizes={"a": 100, "b": 5000}, other=600)
    young = past((0, "a"), (5, "b"), sizes={"a": 450, "b": 430}, lasts=1, lingers=0)
    for trace, why in ((running, IN_USE), (coming, PULLED), (young, YOUNG)):
        outcome = with_reconciler(trace)
        assert outcome.preventable == 0
        assert outcome.unpreventable[why] > 0, why
