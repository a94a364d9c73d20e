"""How much must be freed now, and when to leave the cache alone though a disk is too full.

Removal aims at the low mark. If all candidates together cannot bring a filesystem there, it aims
at the next line above that they can reach: the high mark, the lines at which kubelet acts, and the
one at which pulls begin to fail. If they reach none of them, images are still removed while the
last line is crossed, because any room helps there; otherwise an empty cache would be of no use.

- Each filesystem is judged by itself; one that cannot be helped does not prevent helping another.
- Bytes that are owed count as free (space.py): nothing goes for space that only does not show yet.
- What all candidates could free is estimated high, so that none is wrongly called useless.
- A rest comes first: after removals that did not help nothing goes, whatever is missing.
- The estimates decide how far to go and what is shown, never which image is safe to remove.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .hold import Hold, HoldReason
from .humanize import counted, duration
from .kubelet_lines import inodes_fail, pulls_fail
from .space import DelayedSpace
from .state import State
from .watermark import FilesystemState, Pressure

# What a removal frees, as a multiple of the listed size (docs/runtimes.md): containerd lists
# compressed bytes and keeps both forms, about 1 + 2.7 on python:3.12; CRI-O lists unpacked ones.
EXPECTED_YIELD = {"containerd": 3.0}
GREATEST_YIELD = {"containerd": 16.0}


@dataclass(frozen=True, slots=True)
class Reach:
    """The most that all candidates together could free."""

    bytes: float
    images: int


@dataclass(frozen=True, slots=True)
class Need:
    """What must be freed on one filesystem that is short. `waits`: what earlier removals freed may
    still show, and be enough."""

    bytes: int
    inodes: bool
    waits: bool

    @property
    def is_open(self) -> bool:
        return self.bytes > 0 or self.inodes


def needs(state: State, reach: Reach | None = None) -> list[Need]:
    """Returns the need of each filesystem that is short. Without a `reach` the aim is the low mark,
    whatever it takes."""
    short = (fs for fs in state.disks.filesystems.values() if fs.pressure is Pressure.RECLAIMING)
    return [_need(fs, state, reach) for fs in short]


def missing(found: Iterable[Need]) -> float:
    """Returns the bytes to free on all filesystems. If only inodes are short: 1, as the inodes of
    an image are unknown, so that exactly the next candidate goes by the plan."""
    found = list(found)
    return sum(need.bytes for need in found) or (1.0 if any(one.inodes for one in found) else 0.0)


def _need(fs: FilesystemState, state: State, reach: Reach | None) -> Need:
    usage, bytes_wanted, inodes, waits = fs.usage, 0, False, False
    space = state.disks.delayed.get(usage.mountpoint) or DelayedSpace()
    free_soon, each = space.counts_as, space.inodes_each
    waits_for_others = state.disks.waits_for_others(space)
    if fs.by_bytes is Pressure.RECLAIMING:
        whole = usage.capacity
        lines = [fs.high - 1, *(line.kept_at for line in fs.lines), pulls_fail(whole).kept_at]
        most = None if reach is None else reach.bytes + free_soon
        bytes_wanted = usage.used - aim(usage.used, most, fs.low, lines)
    if fs.by_inodes is Pressure.RECLAIMING:
        most = None if reach is None or not each else 2.0 * each * reach.images
        lines = [fs.inodes_high - 1, *(line.kept_at for line in fs.inode_lines)]
        lines.append(inodes_fail(usage.total_inodes).kept_at)
        inodes = usage.used_inodes > aim(usage.used_inodes, most, fs.inodes_low, lines)
        if space.is_stuck or waits_for_others or (space.owed and not each):
            waits, inodes = inodes, False  # earlier removals may still free some
    still = 0 if waits_for_others else max(0, bytes_wanted - free_soon)
    return Need(still, inodes, waits=waits or (bytes_wanted > 0 and not still))


def aim(used: int, most: float | None, low: int, lines: list[int]) -> int:
    """Returns the lowest line that can be reached by freeing `most` (None: unknown). If it is above
    what is used, no removal is worth it; beyond the last line any removal is."""
    above = sorted(line for line in lines if line > low)
    if most is None:
        return low
    return next((line for line in (low, *above) if used - most <= line), (low, *above)[-1])


def shortage_hold(
    state: State, found: list[Need], now: float, images: int, size: int
) -> Hold | None:
    """Returns why nothing goes though there is pressure, if so: after removals that did not help,
    while freed space does not show yet, and if `images` candidates of `size` bytes as listed can
    reach no line."""
    if now < state.disks.rest_until:
        left = duration(state.disks.rest_until - now)
        text = f"the last removals freed nothing of what is short {_where(state)}: others hold it; "
        return Hold(HoldReason.RESTING, f"{text}next try in {left}", state.disks.rest_until)
    if images and any(need.is_open for need in found):
        return None  # candidates may help one filesystem where they cannot help another
    if any(need.waits for need in found):
        return _space_pending(state, now)
    return Hold(HoldReason.EXHAUSTED, _exhausted(state, images, size))


def _space_pending(state: State, now: float) -> Hold:
    owing = {name: one for name, one in state.disks.delayed.items() if one.owed}
    until = max((one.until for one in owing.values()), default=now)
    count = max((len(one.owed) for one in owing.values()), default=0)
    images = "the last removal" if count == 1 else f"the last {count} removals"
    text = f"what {images} freed does not show yet on {', '.join(owing)}; "
    text += f"it is waited for {duration(until - now)} more at the most"
    return Hold(HoldReason.SPACE_PENDING, text, until)


def _where(state: State) -> str:
    short = [
        name for name, fs in state.disks.filesystems.items() if fs.pressure is Pressure.RECLAIMING
    ]
    return f"on {', '.join(short)}"


def _exhausted(state: State, count: int, size: int) -> str:
    images = sum(image.size for image in state.graph.images.values())
    going, here = counted(count, "candidate"), counted(len(state.graph.images), "image")
    parts = [_situation(fs) for fs in state.disks.filesystems.values()]
    return (
        f"{going} of {size} bytes as listed cannot bring it to the low mark, "
        f"nor under a line where kubelet acts or pulls fail ({here} here: {images} bytes); "
        + "; ".join(parts)
    )


def _situation(fs: FilesystemState) -> str:
    usage = fs.usage
    text = f"{usage.mountpoint}: {usage.used} of {usage.capacity} bytes used, low mark {fs.low}"
    if usage.total_inodes:
        text += f", {usage.used_inodes} of {usage.total_inodes} inodes, low mark {fs.inodes_low}"
    return text


def greatest_bytes(size: int, state: State) -> int:
    """Returns the most that removing images of `size` bytes as listed can free."""
    return int(size * _yield(state, GREATEST_YIELD))


def expected_bytes(size: int, state: State) -> int:
    """Returns what removing them may free, by a rough factor: layers shared with others stay."""
    return int(size * _yield(state, EXPECTED_YIELD))


def _yield(state: State, table: dict[str, float]) -> float:
    """Bytes freed for each byte listed; 1 where the runtime lists unpacked sizes."""
    version = state.runtime.version
    return 1.0 if version and version.sizes_are_unpacked else table["containerd"]
