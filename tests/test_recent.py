"""The recent past stays bounded, whatever happens."""

from __future__ import annotations

from dataclasses import replace

from reconciler.domain.absorb import absorb
from reconciler.telemetry.recent import LINES, POINTS, SPACING, Recent
from tests.builders import T0, state_of, usage


def test_lines_after_the_last_one_seen_are_returned() -> None:
    """A reader that comes back gets what it missed, and nothing twice."""
    recent = Recent()
    for number in range(5):
        recent.add({"event": f"e{number}"})
    seen = recent.after(0)[-1].number
    recent.add({"event": "new"})
    assert [line.fields["event"] for line in recent.after(seen)] == ["new"]


def test_old_lines_make_room() -> None:
    """A chatty day costs no memory."""
    recent = Recent()
    for number in range(3 * LINES):
        recent.add({"event": number})
    assert len(recent.after(0)) == LINES


def test_usage_keeps_a_point_every_so_often_and_always_the_newest() -> None:
    """Samples come every second; six hours of them must not."""
    recent, state = Recent(), state_of(full=50)
    for second in range(60):
        absorb(usage(50 + second / 10, at=T0 + second), state)
        recent.sampled(state)
    (points,) = recent.usage.values()
    assert points[-1].at == T0 + 59
    assert len(points) <= 60 / SPACING + 2
    assert all(b.at - a.at >= SPACING for a, b in zip(points, list(points)[1:-1], strict=False))
    for second in range(2 * POINTS):
        absorb(usage(50, at=T0 + 100 + second * SPACING), state)
        recent.sampled(state)
    assert len(points) == POINTS


def test_a_filesystem_that_is_gone_is_forgotten() -> None:
    """The runtime moved its images: the old filesystem is no longer drawn."""
    recent, state = Recent(), state_of(full=50)
    recent.sampled(state)
    sample = state.disks.sample
    assert sample is not None
    (fs,) = sample.filesystems
    moved = replace(sample, filesystems=(replace(fs, mountpoint="/elsewhere"),))
    state.disks.filesystems = {}
    absorb(replace(usage(50), sample=moved), state)
    recent.sampled(state)
    assert list(recent.usage) == ["/elsewhere"]
