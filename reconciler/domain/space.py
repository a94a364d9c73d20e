"""What removals gave back, by the filesystems' own word, which may come late.

ext4 shows the space of a removed image at once, XFS a moment later, btrfs up to 31 s later (our
measurement, docs/runtimes.md). What was removed and does not show yet is owed: a decision counts it
as free until it shows, or until it is later than it ever was on this filesystem. One that has shown
nothing yet is waited for longest.

- Only what a filesystem shows counts as freed; the listed size says what to expect, no more.
- An image is credited with what its size can free at the very most; the rest was freed by others.
- A removal is given back once, when no filesystem is expected to show more of it.
- Kinds that show everything at once never owe.

What is made of removals that helped nobody is `removing.py`, what is missing now `shortage.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

LONGEST = 60.0  # seconds that a filesystem is waited for whose habit is not known
TAUGHT = 8  # shares that came late: by then half of the longest wait was seen, for certain
QUIET = 2.0  # seconds without more: what was to come at once has come
SAME_MOMENT = 1.0  # seconds: what was removed so shortly before may come with the next share
NOTABLE = 64  # a gain is one from this part of what was expected, and
LEAST = 4096  # bytes
AT_FIRST, AT_MOST = 3, 8  # removals that may be owed at a time: more each time that some came
# Kinds of filesystems that show all within milliseconds (our measurement, docs/runtimes.md): where
# one shows nothing, others wrote as much meanwhile.
AT_ONCE = frozenset({"ext2", "ext3", "ext4", "xfs"})


@dataclass(frozen=True, slots=True)
class Gain:
    """How much less is in use of one filesystem than before a removal; less than 0: others took
    more meanwhile. `short_of_*`: what it was short of when the removal was sent."""

    mountpoint: str
    bytes: int
    inodes: int
    taken: int  # bytes in use after it
    over_low: int  # bytes that were over its low mark before it
    short_of_bytes: bool
    short_of_inodes: bool
    at_once: bool = False  # the filesystem is of a kind that shows everything at once

    @property
    def is_short(self) -> bool:
        return self.short_of_bytes or self.short_of_inodes


@dataclass(slots=True, eq=False)
class Removed:
    """An image that is gone, and what came of it so far."""

    image_id: str
    names: tuple[str, ...]
    at: float
    expected: int  # bytes
    most: int  # bytes: more no image of its size frees
    freed: int = 0  # bytes that showed, on all filesystems
    about: bool = False  # others wrote or freed meanwhile, or several removals showed as one
    wanted: bool = False  # something was short when it was sent
    helped: bool = False  # there is more of what was short
    for_nothing: bool = False  # it is certain that it did not help
    owed_by: int = 0  # filesystems that may still show it

    def count(self, freed: int) -> None:
        """So many bytes showed; fewer than none are none, and what others freed is not its own."""
        self.about = self.about or not 0 <= self.freed + freed <= self.most
        self.freed = min(self.freed + max(0, freed), self.most)


@dataclass(slots=True)
class DelayedSpace:
    """One filesystem: its habit, and what it owes."""

    shows_after: float | None = None  # seconds, the longest seen; None: it has shown nothing yet
    brings: float = 0.0  # bytes freed for each byte expected, the most seen; 0: none seen
    owed: list[Removed] = field(default_factory=list)
    at_a_time: int = AT_FIRST
    at_least: int = 0  # bytes that all this counts as, where nothing is known
    covers: int = 0  # bytes that it counts as, once as many are owed as may be at a time
    came: int = 0  # bytes of it that showed
    came_at: float | None = None  # when, last
    shared: bool = False  # others wrote or freed meanwhile
    taken: int = 0  # bytes in use, by the last sample
    late_shares: int = 0  # times that something came late
    proven: bool = False  # what showed nothing was waited for in vain: there was nothing to come
    inodes_each: int = 0  # the most that one removal freed

    @property
    def patience(self) -> float:
        """Seconds that it is waited for, after a removal was answered."""
        if self.shows_after is None or self.late_shares < TAUGHT:
            return LONGEST
        return min(LONGEST, 2 * self.shows_after + QUIET)

    @property
    def until(self) -> float:
        """When it is waited for no longer."""
        return max((one.at for one in self.owed), default=0.0) + self.patience

    @property
    def bytes_owed(self) -> int:
        """What will show, for all that can be known."""
        if not self.owed:
            return 0
        expected = sum(one.expected for one in self.owed)
        likely = max(int(expected * max(1.0, self.brings)), 0 if self.brings else self.at_least)
        return max(0, likely - self.came)

    @property
    def counts_as(self) -> int:
        """Bytes that a decision takes for free already. Once as many removals are owed as may be at
        a time, that is all that was wanted then; what others take after that is wanted anew."""
        return max(self.bytes_owed, self.covers) if self.is_full else self.bytes_owed

    @property
    def is_full(self) -> bool:
        return bool(self.owed) and len(self.owed) >= self.at_a_time

    def is_late(self, shows: bool) -> bool:
        """Whether a removal is to be waited for. Where all before it showed at once and this one
        shows nothing, they may have done so by chance."""
        if self.owed or self.shows_after is None or self.late_shares:
            return True
        return not shows and not self.proven

    @property
    def is_arriving(self) -> bool:
        """Whether what is owed began to show, and its sum is told in a moment."""
        return bool(self.owed) and self.came_at is not None

    def owe(self, removed: Removed, gain: Gain) -> None:
        """A removal does not show yet."""
        removed.owed_by += 1
        was_full = self.is_full
        self.owed.append(removed)
        if self.is_full:
            self.covers = self.covers + removed.expected if was_full else gain.over_low
        self.at_least += 0 if self.at_least else gain.over_low
        self.taken = gain.taken

    def show(self, gain: Gain, expected: int) -> None:
        """What there is to show of a removal showed at once, if anything."""
        if not notable(gain.bytes, expected):
            return
        self.shows_after = self.shows_after or 0.0
        self.brings = max(self.brings, gain.bytes / expected if expected else 0.0)

    def sampled(self, taken: int, at: float) -> list[Removed]:
        """A new sample; gives the removals that nothing more is expected of."""
        step, self.taken = self.taken - taken, taken
        if not self.owed:
            return []
        self.came += max(0, step)
        if notable(step, max(one.expected for one in self.owed)):
            self.came_at = at
        else:
            self.shared = self.shared or step != 0
        came_at = self.came_at
        if came_at is not None and at >= came_at + QUIET:
            covered = [one for one in self.owed if one.at <= came_at - SAME_MOMENT]
            return self._settle(covered or self.owed, came_at)
        return self._settle([one for one in self.owed if at >= one.at + self.patience], None)

    def _settle(self, over: list[Removed], came_at: float | None) -> list[Removed]:
        """What came is shared out by what was expected of each."""
        if not over:
            return []
        expected = sum(one.expected for one in over) or 1
        if came_at is not None:
            lateness = came_at - min(one.at for one in over)
            self.shows_after = max(self.shows_after or 0.0, lateness)
            self.brings = max(self.brings, self.came / expected)
            self.late_shares += 1
            self.at_a_time = min(2 * self.at_a_time, AT_MOST)
        else:
            self.proven = self.shows_after is not None
            self.at_a_time = AT_FIRST
        for one in over:
            one.count(self.came * one.expected // expected)
            one.about = one.about or self.shared or len(over) > 1
            one.helped = one.helped or came_at is not None
            one.for_nothing = not one.helped
            one.owed_by -= 1
        self.owed = [one for one in self.owed if one not in over]
        self.came, self.came_at, self.shared = 0, None, False
        self.at_least = self.at_least if self.owed else 0
        return [one for one in over if not one.owed_by]


def notable(gain: int, expected: int) -> bool:
    """Whether a filesystem shows a removal that was to free so many bytes."""
    return gain >= max(LEAST, expected // NOTABLE)


def note(
    delayed: dict[str, DelayedSpace], gains: Iterable[Gain], removed: Removed
) -> list[Removed]:
    """An image is gone, and the filesystems were measured again. Gives it back if nothing more is
    expected of it."""
    gains = tuple(gains)
    showing = [gain for gain in gains if notable(gain.bytes, removed.expected)]
    seen = bool(showing)
    removed.for_nothing = seen and not any(one.is_short for one in showing)
    for gain in gains:
        space = delayed.setdefault(gain.mountpoint, DelayedSpace())
        space.inodes_each = max(space.inodes_each, gain.inodes)
        removed.wanted = removed.wanted or gain.is_short
        late = space.is_late(gain in showing) and not gain.at_once
        # One that is not short may be in a moment, where the mark moves or others write.
        holds = gain.short_of_bytes or space.shows_after is not None
        if holds and late and (space.owed or not seen):
            space.owe(removed, gain)
        else:
            space.show(gain, removed.expected)
            removed.count(gain.bytes)
        removed.helped = removed.helped or (not removed.for_nothing and _helps(gain))
    return [] if removed.owed_by else [removed]


def _helps(gain: Gain) -> bool:
    fewer_bytes = gain.short_of_bytes and gain.bytes > 0
    return fewer_bytes or (gain.short_of_inodes and gain.inodes > 0)
