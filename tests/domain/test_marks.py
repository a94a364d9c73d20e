"""Auto marks: as full as kubelet allows, and never where kubelet acts first."""

from __future__ import annotations

import pytest

from reconciler.domain import facts
from reconciler.domain.absorb import absorb
from reconciler.domain.decision import decide
from reconciler.domain.inventory import FilesystemUsage, UsageSample
from reconciler.domain.kubelet_lines import (
    HARD,
    SOFT,
    KubeletConfig,
    NodeFilesystem,
    Threshold,
    byte_lines,
)
from reconciler.domain.margin import Overshoot
from reconciler.domain.marks import explained, warnings
from reconciler.domain.policy import Mark, Mode, Watermarks
from reconciler.domain.state import State
from reconciler.domain.watermark import FilesystemState, Pressure
from tests.builders import DAY, GIB, MIB, T0, exclusion, image, marks, policy, state_of

NOW = T0 + DAY
WHOLE = 100 * GIB
AUTO = Watermarks()


def line(text: str, setting: str = HARD) -> Threshold:
    """One of kubelet's thresholds: `imagefs.available<15%`."""
    signal, _, free = text.partition("<")
    if free.endswith("%"):
        return Threshold(setting, signal, percent=float(free[:-1]))
    return Threshold(setting, signal, amount=int(free))


def node(
    *thresholds: Threshold, gc: int = 85, watermarks: Watermarks = AUTO, taught: int = 0
) -> State:
    """A node whose kubelet was looked at; `taught`: bytes past the mark, in enough crossings."""
    state = state_of([image("a:v1", 5 * GIB)], in_force=policy(watermarks=watermarks), full=1)
    state.disks.overshoots["/images"] = Overshoot((taught,) * 16)
    absorb(facts.KubeletReported(NOW, KubeletConfig("a test", gc, 0.0, thresholds)), state)
    return state


def disk(state: State, used: float, at: float = NOW, device: int = 1) -> FilesystemState:
    """The filesystem at so many GiB of 100, and a million inodes, of which half are used."""
    usage = FilesystemUsage("/images", device, WHOLE, int(used * GIB), 1_000_000, 500_000)
    absorb(facts.UsageSampled(UsageSample(at, (usage,))), state)
    return state.disks.filesystems["/images"]


def percent(count: int) -> float:
    return round(100 * count / WHOLE, 2)


@pytest.mark.parametrize("high", [1, 50, 80, 84, 85, 99])
@pytest.mark.parametrize("capacity", [100, 101, 1_000_003, WHOLE])
def test_image_gc_acts_where_its_own_arithmetic_says(high: int, capacity: int) -> None:
    """It rounds what is available down, so that 85 acts above 84 percent in use."""
    (found,) = byte_lines(KubeletConfig("", high, thresholds=()), capacity, is_nodefs=True)

    def acts(used: int) -> bool:
        return 100 - int((capacity - used) * 100 / capacity) >= high

    assert acts(found.crossed_at)
    assert not acts(found.kept_at)


def test_eviction_acts_below_a_share_of_kubelets_float() -> None:
    """15 % is a float32 there: a few bytes more than 15 hundredths."""
    config = KubeletConfig("", 100, thresholds=(line("imagefs.available<15%"),))
    (found,) = byte_lines(config, 1 << 40, is_nodefs=False)
    assert found.crossed_at == (1 << 40) - int((1 << 40) * 0.15000000596046448) + 1


@pytest.mark.parametrize(
    ("thresholds", "gc", "highest"),
    [
        ((), 85, 84.0),  # as kubelet rounds 85
        ((line("imagefs.available<15%"),), 100, 85.0),
        ((line("imagefs.available<15%"),), 85, 84.0),
        ((line("imagefs.available<25%", SOFT),), 85, 75.0),
        ((line("nodefs.available<25%"),), 85, 75.0),  # the disk may be one
        ((line(f"imagefs.available<{40 * GIB}"),), 85, 60.0),
        ((), 100, 98.0),  # kubelet has no line: where pulls begin to fail
    ],
)
def test_the_high_mark_stands_just_under_the_lowest_of_kubelets_lines(
    thresholds: tuple[Threshold, ...], gc: int, highest: float
) -> None:
    """A point of the disk is worth more than the whole cleverness of the order of removal; one
    above the line costs all unused images at once."""
    fs = disk(node(*thresholds, gc=gc), 50)
    assert percent(fs.high) == pytest.approx(highest - 0.5, abs=0.01)
    assert percent(fs.low) == pytest.approx(highest - 1.0, abs=0.01)


def test_nodefs_counts_only_where_it_is_the_images_filesystem() -> None:
    """Its lines say nothing of a disk of the images' own."""
    state = node(line("nodefs.available<50%"))
    known = facts.KubeletReported(
        NOW, state.disks.kubelet or KubeletConfig(), NodeFilesystem(7, 30 * GIB)
    )
    absorb(known, state)
    assert percent(disk(state, 40, device=1).high) == 83.5
    assert percent(disk(state, 40, device=7).high) == 49.5
    subvolume = facts.KubeletReported(NOW, known.config, NodeFilesystem(9, WHOLE))
    absorb(subvolume, state)
    assert percent(disk(state, 40, device=1).high) == 49.5  # of one btrfs: another device


def test_inodes_have_their_own_line() -> None:
    """kubelet deletes every unused image for 5 % of free inodes too."""
    fs = disk(node(line("imagefs.inodesFree<20%")), 50)
    assert (fs.inodes_high, fs.inodes_low) == (780_000, 770_000)


def test_nothing_goes_for_lines_nobody_has_looked_at_yet() -> None:
    """kubelet may be set to collect at 95: its defaults would throw images away at the start."""
    state = state_of([image("a:v1", GIB)], in_force=policy(watermarks=AUTO), full=85)
    assert decide(state, state.operator.policy, NOW).eviction is None
    absorb(facts.KubeletReported(NOW, KubeletConfig()), state)
    assert decide(state, state.operator.policy, NOW).eviction is not None


def test_the_operators_word_on_kubelet_goes_before_what_is_found() -> None:
    """Where kubelet's file can't be seen its defaults would be believed."""
    state = node(line("imagefs.available<15%"))
    said = KubeletConfig("policy.yaml:3:1", 70, thresholds=())
    absorb(facts.PolicyLoaded(NOW, policy(watermarks=AUTO, kubelet=said)), state)
    assert percent(disk(state, 50).high) == 68.5


def test_a_line_that_kubelet_can_not_get_away_from_is_reported_and_left_out() -> None:
    """100Gi free on a disk of 100 GiB: all images would go, and it would still act."""
    state = node(line(f"imagefs.available<{99 * GIB}"))
    assert percent(disk(state, 50).high) == 83.5
    (warning,) = warnings(state)
    assert warning.startswith("kubelet acts on /images whatever is removed: evictionHard imagefs")


def test_a_crossing_teaches_how_far_usage_runs_past_the_mark() -> None:
    """Pulls in flight run on while images go: the next time there is room for that."""
    state = node()
    before = disk(state, 83)
    for step, used in enumerate((83.9, 85.3, 84.6, 83.2)):
        disk(state, used, NOW + 1 + step)
    after = disk(state, 83.2, NOW + 9)
    ran = int(85.3 * GIB) - before.high
    assert state.disks.overshoots["/images"].recent[-1] == ran
    assert state.disks.overshoots["/images"].learned == ran
    assert after.margin == int(ran * 1.25 + WHOLE * 0.002)
    assert after.high < before.high


def cross(state: State, past: float, at: float) -> None:
    """Usage runs so many percent past the mark, and is had back."""
    high = percent(disk(state, 70, at).high)
    disk(state, high - 0.05, at + 1)
    disk(state, high + past, at + 2)
    disk(state, 70, at + 3)


def test_a_new_node_is_careful_and_less_so_with_each_crossing() -> None:
    """Nobody knows yet how fast its pulls are."""
    state = node()
    state.disks.overshoots["/images"] = Overshoot()
    highs = []
    for number in range(17):
        highs.append(percent(disk(state, 70, NOW + 10 * number).high))
        cross(state, 0.1, NOW + 10 * number + 1)
    assert highs[0] == 81.0
    assert highs == sorted(highs)
    assert highs[-1] == pytest.approx(83.5, abs=0.01)


def test_a_daemon_that_is_started_on_a_full_disk_learns_nothing_of_that() -> None:
    """Usage stood far past the mark before anybody could have done anything."""
    state = node()
    cross(state, 0.1, NOW - 60)
    before = state.disks.overshoots["/images"].recent
    disk(state, 95)
    disk(state, 70, NOW + 1)
    assert state.disks.overshoots["/images"].recent == before
    assert state.disks.overshoots["/images"].learned is None  # not what the one before it taught
    disk(state, 95, NOW + 60)  # a minute later: the process was stopped, or the machine asleep
    disk(state, 70, NOW + 61)
    assert state.disks.overshoots["/images"].recent == before
    absorb(facts.PolicyLoaded(NOW + 62, policy(watermarks=marks(50, 40))), state)
    disk(state, 30, NOW + 63)
    assert state.disks.overshoots["/images"].recent == before


def test_a_crossing_in_which_nothing_may_go_teaches_nothing_beyond_that() -> None:
    """No margin helps where all that is left is in use: it would only cost images."""
    state = node(taught=GIB // 2)
    before = state.disks.overshoots["/images"].recent
    disk(state, 83)
    disk(state, 83.5, NOW + 1)
    absorb(facts.NothingRemovable(NOW + 1), state)
    for step, used in enumerate((90.0, 97.0, 83.0)):
        disk(state, used, NOW + 2 + step)
    assert state.disks.overshoots["/images"].recent == before


@pytest.mark.parametrize("reason", ["observe", "paused"])
def test_a_daemon_that_removes_nothing_learns_nothing(reason: str) -> None:
    """What runs past the mark then is not for want of room."""
    state = node()
    if reason == "observe":
        absorb(facts.PolicyLoaded(NOW, policy(watermarks=AUTO, mode=Mode.OBSERVE)), state)
    else:
        absorb(facts.Paused(NOW), state)
    before = state.disks.overshoots["/images"].recent
    for step, used in enumerate((83.9, 97.0, 70.0)):
        disk(state, used, NOW + 1 + step)
    assert state.disks.overshoots["/images"].recent == before


def test_what_a_node_taught_survives_in_the_ledger_and_the_wider_margin_wins() -> None:
    """A daemon that is updated every day would be careful for ever."""
    state = node()
    cross(state, 0.5, NOW)
    changes = state.take_changes()
    assert changes.overshoots == {"/images": state.disks.overshoots["/images"].recent}
    assert state.take_changes().overshoots == {}


def test_the_disk_is_looked_at_sooner_the_sooner_it_may_be_full() -> None:
    """Once a second a fast pull runs far past a mark; ten times a second for nothing is noticed."""
    state = node()
    disk(state, 50)
    assert state.disks.look_again_in == 1.0
    disk(state, 50.1, NOW + 1)  # 0.1 GiB/s, 34 GiB to go
    assert state.disks.look_again_in == 1.0
    disk(state, 83.7, NOW + 100)
    assert state.disks.look_again_in < 0.3
    disk(state, 84.5, NOW + 101)
    assert state.disks.look_again_in == 0.1
    disk(state, 83.0, NOW + 300)
    assert state.disks.look_again_in == 1.0


def test_marks_say_where_they_are_from() -> None:
    """One sentence, for status, plan, page and log."""
    state = node(line("imagefs.available<25%", SOFT), taught=400 * MIB)
    assert explained(disk(state, 50), state) == (
        "auto: 75.0% (evictionSoft imagefs.available<25%, of a test) less a margin of 0.7% "
        "(usage ran up to 0.4% past the mark in the last 16 crossings)"
    )
    given = node(watermarks=marks(80, 78))
    assert explained(disk(given, 50), given) == (
        "given by the policy; kubelet acts above 84.0% (imageGCHighThresholdPercent 85)"
    )


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (line("imagefs.available<25%", SOFT), "evictionSoft imagefs.available<25% from 75.0% on"),
        (line("nodefs.available<25%"), "evictionHard nodefs.available<25% from 75.0% on"),
        (line(f"imagefs.available<{30 * GIB}"), "imagefs.available<32212254720 from 70.0% on"),
        (line("imagefs.inodesFree<20%"), "imagefs.inodesFree<20% from 80.0% on"),
    ],
)
def test_a_mark_that_kubelet_acts_below_is_warned_of(threshold: Threshold, expected: str) -> None:
    """Soft, nodefs, inodes, absolute: kubelet emptied the node, and nothing had been said."""
    given = Watermarks(Mark(percent=80), Mark(percent=78), Mark(percent=85), Mark(percent=83))
    state = node(threshold, watermarks=given)
    disk(state, 50)
    (warning,) = warnings(state)
    assert expected in warning
    assert "kubelet acts first there" in warning


def test_marks_below_all_lines_are_not_warned_of() -> None:
    """84 is the last that kubelet leaves alone."""
    state = node(line("imagefs.available<15%"), watermarks=marks(84, 83))
    disk(state, 50)
    assert warnings(state) == []
    state = node(line("imagefs.available<15%"), watermarks=marks(84.01, 83))
    disk(state, 50)
    assert len(warnings(state)) == 1


def test_images_that_kubelet_removes_by_age_are_no_excluded_ones() -> None:
    """imageMaximumGCAge knows no exclusions."""
    state = node()
    absorb(facts.KubeletReported(NOW, KubeletConfig("a test", 85, 3600.0, ())), state)
    disk(state, 50)
    assert warnings(state) == []
    kept = policy(watermarks=AUTO, exclusions=(exclusion("reg.example/a"),))
    absorb(facts.PolicyLoaded(NOW, kept), state)
    (warning,) = warnings(state)
    assert warning.startswith("kubelet removes every image unused for 1h (imageMaximumGCAge")


def test_a_pass_of_the_operators_own_starts_where_it_stops() -> None:
    """`prune` reclaims to the low mark without waiting for the high one."""
    state = node(watermarks=Watermarks(from_low=True))
    assert disk(state, 83.2).pressure is Pressure.RECLAIMING
    assert disk(state, 82.9).pressure is Pressure.CALM
