"""Several image filesystems, one of which others fill, and marks at their very edge."""

from __future__ import annotations

import pytest

from reconciler.domain import facts
from reconciler.domain.absorb import absorb
from reconciler.domain.decision import HoldReason, decide
from reconciler.domain.inventory import FilesystemUsage, UsageSample
from reconciler.domain.kubelet_lines import KubeletConfig
from reconciler.domain.state import State
from reconciler.domain.watermark import Pressure
from reconciler.sources.usage_probe import sample
from tests.builders import CRIO, DAY, GIB, MIB, T0, image, marks, policy, state_of, usage

LATER = T0 + DAY
APP = image("app:v1", 5 * GIB)


def measured(state: State, images: int, other: int) -> None:
    """Two filesystems of 100 GiB: that of the images, and one that is filled by others."""
    both = (
        FilesystemUsage("/images", 1, 100 * GIB, images * GIB),
        FilesystemUsage("/layers", 2, 100 * GIB, other * GIB),
    )
    absorb(facts.UsageSampled(UsageSample(LATER, both)), state)


def hold_reason(state: State) -> HoldReason | None:
    hold = decide(state, state.operator.policy, LATER).hold
    return hold.reason if hold else None


def test_a_filesystem_that_no_image_can_help_does_not_leave_the_other_one_full() -> None:
    """One disk is full of somebody's data, beyond all images; the other needs a few of them."""
    small = image("small:v1", 100 * MIB)
    state = state_of([small])
    measured(state, images=81, other=99)
    assert hold_reason(state) is None
    assert decide(state, state.operator.policy, LATER).eviction is not None
    measured(state, images=70, other=94)
    assert hold_reason(state) is HoldReason.EXHAUSTED


def test_nothing_goes_where_both_marks_are_equal_and_usage_is_on_them() -> None:
    """`prune --to 60%` at 60 %: there is nothing to bring down."""
    state = state_of([APP], full=50, in_force=policy(watermarks=marks(60, 60)))
    absorb(usage(60, at=LATER), state)
    assert state.disks.pressure is Pressure.CALM
    assert decide(state, state.operator.policy, LATER).eviction is None
    absorb(usage(60.1, at=LATER), state)
    assert decide(state, state.operator.policy, LATER).eviction is not None


@pytest.mark.parametrize(
    ("usage", "why"),
    [
        (FilesystemUsage("/images", 1, 0, 0), "reports no size"),
        (FilesystemUsage("/images", 1, GIB, 2 * GIB), "bytes are in use"),
        (FilesystemUsage("/images", 1, GIB, -1), "bytes are in use"),
        (FilesystemUsage("/images", 1, GIB, GIB, 10, 11), "inodes are in use"),
    ],
)
async def test_what_can_not_be_is_no_measurement(usage: FilesystemUsage, why: str) -> None:
    """A ramfs of 0 bytes read as "0 of 0 used, reclaiming", and all images went."""
    full = FilesystemUsage("/layers", 2, 100 * GIB, 85 * GIB)
    disks = {"/images": usage, "/layers": full}
    state = state_of([APP], full=50)
    for wanted in (("/images",), ("/images", "/layers")):
        found = await sample(wanted, disks.__getitem__, lambda: LATER)
        absorb(facts.UsageSampled(found), state)
        (lost,) = found.invisible
        assert lost.mountpoint == "/images"
        assert why in lost.error
        goes = decide(state, state.operator.policy, LATER).eviction is not None
        assert goes == (wanted == ("/images", "/layers"))  # the others of the node go on


def test_what_candidates_can_reach_is_worth_it_and_what_they_can_not_is_kept() -> None:
    """An empty cache helps nobody, and so does a full one on a node that dies."""
    small = image("small:v1", 100 * MIB)  # frees 1.6 GiB at the very most
    state = state_of([small], in_force=policy(watermarks=marks(80, 70)))
    absorb(facts.KubeletReported(LATER, KubeletConfig()), state)
    worth = {}
    for used in (81.0, 82.0, 84.5, 86.0, 87.0, 91.0, 93.0, 95.0, 99.0, 100.0):
        absorb(facts.UsageSampled(UsageSample(LATER + used, (disk(used),))), state)
        worth[used] = decide(state, state.operator.policy, LATER + 100).eviction is not None
    assert worth == {
        81.0: True,  # under the high mark
        82.0: False,
        84.5: True,  # under the line where kubelet collects images
        86.0: True,  # under the one where it evicts
        87.0: False,
        91.0: True,  # under nodefs'
        93.0: False,
        95.0: False,
        99.0: True,  # under the line where pulls fail
        100.0: True,  # any room is worth it
    }


def disk(used: float) -> FilesystemUsage:
    return FilesystemUsage("/images", 1, 100 * GIB, int(used * GIB))


def test_on_cri_o_a_few_bytes_too_few_do_not_leave_a_full_disk_full() -> None:
    """299 MB of candidates were kept because 313 MB were missing, while pulls failed at 99.4 %."""
    app = image("app:v1", 299 * MIB)
    state = state_of([app], in_force=policy(watermarks=marks(80, 78)))
    state.runtime.version = CRIO
    absorb(facts.UsageSampled(UsageSample(LATER, (FilesystemUsage("/i", 1, 1463, 1454),))), state)
    scaled = FilesystemUsage("/i", 1, 1463 * MIB, 1454 * MIB)
    absorb(facts.UsageSampled(UsageSample(LATER + 1, (scaled,))), state)
    assert decide(state, state.operator.policy, LATER + 1).eviction is not None
