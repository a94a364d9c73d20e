"""How much space removals freed, as the filesystems show it, which may be late.

ext4 shows the space of a removed image at once, XFS a moment later, btrfs up to 31 s later (our
measurement, docs/runtimes.md). Bytes that were freed and do not show yet are owed: a decision
counts them as free until they show, or until they are later than ever before on this filesystem.
A filesystem that has shown nothing yet is waited for longest.

- Only what a filesystem shows counts as freed; the listed size only says what to expect.
- An image is credited with at most what its size can free; others freed the remainder.
- A removal is settled once, when no filesystem is expected to show more of it.
- What was short when it was sent may be helped when its space shows; what has room never is.
- Filesystems of a kind that shows everything at once never owe anything. Nothing but the kind
  proves it: space may show at once by chance, and others may write as much as was freed.

`removing.py` handles removals that did not help, `shortage.py` says how much must be freed now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

LONGEST = 60.0  # seconds to wait for a filesystem whose delay is not known
LEARNED_AFTER = 8  # late gains: by then half of the longest delay was certainly seen
QUIET = 2.0  # seconds without a further gain, after which one is complete
SAME_MOMENT = 1.0  # seconds: a removal so shortly before a gain may show with the next one
NOTABLE = 64  # a gain counts from 1/64 of what was expected, and from
LEAST = 4096  # bytes
AT_FIRST, AT_MOST = 3, 8  # removals that may be owed at a time: more after each late gain
# Kinds of filesystems that free space before the call that removes a file returns, and those that
# show all while a removal is measured (our measurement, docs/runtimes.md): where one of these shows
# nothing, others wrote as much in that time.
FREE_IN_THE_CALL = frozenset({"ext2", "ext3", "ext4"})
AT_ONCE = FREE_IN_THE_CALL | {"xfs"}


@dataclass(frozen=True, slots=True)
class Gain:
    """How much less of one filesystem is in use than before a removal; negative: others used more
    in that time. `short_of_*`: what it was short of when the removal was sent."""

    mountpoint: str
    bytes: int
    inodes: int
    taken: int  # bytes in use after the removal
    over_low: int  # bytes over the low mark before the removal
    short_of_bytes: bool
    short_of_inodes: bool
    at_once: bool = False  # of a kind of filesystem that shows everything at once

    @property
    def is_short(self) -> bool:
        return self.short_of_bytes or self.short_of_inodes


@dataclass(slots=True, eq=False)
class Removed:
    """An image that is gone, and what its removal freed so far."""

    image_id: str
    names: tuple[str, ...]
    at: float
    expected: int  # bytes
    most: int  # bytes that an image of its size can free at most
    freed: int = 0  # bytes that showed, on all filesystems
    approximate: bool = False  # others wrote or freed too, or several removals showed as one
    was_short: bool = False  # a filesystem was short when it was sent
    helped: bool = False  # it freed some of what was short
    certainly_futile: bool = False  # it certainly did not
    owed_by: int = 0  # filesystems that may still show its space
    wanted_by: int = 0  # those of them that were short when it was sent

    def count(self, freed: int) -> None:
        """Credits it with bytes that showed, within 0 and `most`: others wrote or freed the
        difference."""
        self.approximate = self.approximate or not 0 <= self.freed + freed <= self.most
        self.freed = min(self.freed + max(0, freed), self.most)


@dataclass(slots=True)
class DelayedSpace:
    """One filesystem: how late it shows freed space, and the removals that it owes space for."""

    shows_after: float | None = None  # seconds, the longest seen; None: nothing has shown yet
    most_yield: float = 0.0  # most bytes freed for each byte expected; 0: none seen
    owed: list[Removed] = field(default_factory=list)
    wanted: list[Removed] = field(default_factory=list)  # those sent while this one was short
    most_owed: int = AT_FIRST
    assumed: int = 0  # bytes that all owed removals count as while no yield is known
    covers: int = 0  # bytes that they count as once as many are owed as may be
    shown: int = 0  # bytes of them that showed
    shown_at: float | None = None  # when some showed last
    shared: bool = False  # others wrote or freed in that time
    taken: int = 0  # bytes in use, by the last sample
    late_shares: int = 0  # late gains so far
    inodes_each: int = 0  # the most inodes that one removal freed

    @property
    def patience(self) -> float:
        """Seconds to wait for its space after a removal was answered."""
        if self.shows_after is None or self.late_shares < LEARNED_AFTER:
            return LONGEST
        return min(LONGEST, 2 * self.shows_after + QUIET)

    @property
    def until(self) -> float:
        """When the wait for owed space ends."""
        return max((one.at for one in self.owed), default=0.0) + self.patience

    @property
    def bytes_owed(self) -> int:
        """Bytes that are still expected to show."""
        if not self.owed:
            return 0
        expected = sum(one.expected for one in self.owed)
        least = 0 if self.most_yield else self.assumed
        likely = max(int(expected * max(1.0, self.most_yield)), least)
        return max(0, likely - self.shown)

    @property
    def counts_as(self) -> int:
        """Bytes that a decision counts as free already. Once as many removals are owed as may be,
        they count as all that was needed then; what others write after that is needed in
        addition."""
        return max(self.bytes_owed, self.covers) if self.is_full else self.bytes_owed

    @property
    def is_full(self) -> bool:
        return bool(self.owed) and len(self.owed) >= self.most_owed

    @property
    def is_stuck(self) -> bool:
        """Whether as many removals are owed as may be, and none of the last ones has helped so
        far."""
        return self.is_full and not any(one.helped for one in self.owed[-self.most_owed :])

    def is_late(self, shows: bool) -> bool:
        """Whether the space of a removal must be waited for: not where all of them showed at once,
        this one too."""
        if self.owed or self.shows_after is None or self.late_shares:
            return True
        return not shows

    @property
    def is_arriving(self) -> bool:
        """Whether owed space has begun to show, so that its sum is known in a moment."""
        return bool(self.owed) and self.shown_at is not None

    def add_owed(self, removed: Removed, gain: Gain) -> None:
        """Adds a removal whose space does not show yet."""
        removed.owed_by += 1
        if gain.is_short:
            removed.wanted_by += 1
            self.wanted.append(removed)
        was_full = self.is_full
        self.owed.append(removed)
        if self.is_full:
            self.covers = self.covers + removed.expected if was_full else gain.over_low
        self.assumed += 0 if self.assumed else gain.over_low
        self.taken = gain.taken

    def learn(self, gain: Gain, expected: int) -> None:
        """Learns from a removal whose space, if any, showed at once."""
        if not notable(gain.bytes, expected):
            return
        self.shows_after = self.shows_after or 0.0
        self.most_yield = max(self.most_yield, gain.bytes / expected if expected else 0.0)

    def take_sample(self, taken: int, at: float) -> list[Removed]:
        """Takes in a new sample; returns the removals of which nothing more is expected."""
        step, self.taken = self.taken - taken, taken
        if not self.owed:
            return []
        self.shown += max(0, step)
        if notable(step, max(one.expected for one in self.owed)):
            self.shown_at = at
        else:
            self.shared = self.shared or step != 0
        shown_at = self.shown_at
        if shown_at is not None and at >= shown_at + QUIET:
            covered = [one for one in self.owed if one.at <= shown_at - SAME_MOMENT]
            return self._settle(covered or self.owed, shown_at)
        return self._settle([one for one in self.owed if at >= one.at + self.patience], None)

    def _settle(self, settled: list[Removed], shown_at: float | None) -> list[Removed]:
        """Shares what showed among removals by what was expected of each; returns those settled on
        every filesystem."""
        if not settled:
            return []
        expected = sum(one.expected for one in settled) or 1
        if shown_at is not None:
            lateness = shown_at - min(one.at for one in settled)
            self.shows_after = max(self.shows_after or 0.0, lateness)
            self.most_yield = max(self.most_yield, self.shown / expected)
            self.late_shares += 1
            self.most_owed = min(2 * self.most_owed, AT_MOST)
        else:
            self.most_owed = AT_FIRST
        for one in settled:
            one.count(self.shown * one.expected // expected)
            one.approximate = one.approximate or self.shared or len(settled) > 1
            one.helped = one.helped or (shown_at is not None and one in self.wanted)
            one.certainly_futile = not one.helped
            one.owed_by -= 1
            one.wanted_by -= one in self.wanted
        self.owed = [one for one in self.owed if one not in settled]
        self.wanted = [one for one in self.wanted if one not in settled]
        self.shown, self.shown_at, self.shared = 0, None, False
        self.assumed = self.assumed if self.owed else 0
        return [one for one in settled if not one.owed_by]


def notable(gain: int, expected: int) -> bool:
    """Whether a gain is large enough to be that of a removal with so many bytes expected."""
    return gain >= max(LEAST, expected // NOTABLE)


def record_gains(
    delayed: dict[str, DelayedSpace], gains: Iterable[Gain], removed: Removed
) -> list[Removed]:
    """Records what each filesystem gained by a removal, once the image is gone. Returns the removal
    if nothing more is expected of it."""
    gains = tuple(gains)
    showing = [gain for gain in gains if notable(gain.bytes, removed.expected)]
    removed.certainly_futile = bool(showing) and not any(one.is_short for one in showing)
    for gain in gains:
        space = delayed.setdefault(gain.mountpoint, DelayedSpace())
        space.inodes_each = max(space.inodes_each, gain.inodes)
        removed.was_short = removed.was_short or gain.is_short
        shows = gain in showing
        late = space.is_late(shows) and not gain.at_once
        # Also where nothing is short: it may be in a moment, if the mark moves or others write.
        if late and (space.owed or not shows):
            space.add_owed(removed, gain)
        else:
            space.learn(gain, removed.expected)
            removed.count(gain.bytes)
        removed.helped = removed.helped or (not removed.certainly_futile and _helps(gain))
    return [] if removed.owed_by else [removed]


def _helps(gain: Gain) -> bool:
    fewer_bytes = gain.short_of_bytes and gain.bytes > 0
    return fewer_bytes or (gain.short_of_inodes and gain.inodes > 0)
