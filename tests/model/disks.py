"""The judge's own account of what the daemon measured of the disks. Nothing here uses the product's
arithmetic."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from reconciler.domain.inventory import UsageSample
from reconciler.fake_runtime.disks import Disk, Disks

from .marks import lowest_auto
from .policies import Version

INODES = 100_000
FUTILE = 10  # removals in a row that freed nothing of what is short
REST = 60.0  # seconds, the first time
EPSILON = 1e-6  # seconds
# Of what a removal frees, what a client can count on before it shows: containerd lists compressed
# bytes, and images here free 3.6 times as many, of which a client can only guess about 3.
KNOWABLE = 3.0 / 3.6

Thing = tuple[str, str]  # a mountpoint, and "bytes" or "inodes"
Count = tuple[Thing, int, int]  # how much of it is in use, of how much


class Shortage:
    """What is short, by the measurements that the daemon's loop took and the operator's marks: from
    the high mark on, until the low one."""

    def __init__(self) -> None:
        self.sample: UsageSample | None = None
        self._late: UsageSample | None = None  # reported after one that was taken later
        self.short: set[Thing] = set()
        self._before: dict[Thing, int] = {}  # of what was short when the last removal was sent
        self._least: dict[Thing, int] = {}  # in use since
        self._futile, self._rests_until = 0, 0.0
        self._ours: list[tuple[float, int]] = []  # when a removal freed bytes, and how many
        self._enough: set[Thing] = set()  # will not be short, when what was freed shows
        self._freed = 0  # bytes in all
        self.superfluous = 0  # removals in a row for which the ones before had freed enough

    def measured(self, sample: UsageSample) -> None:
        """The loop took a measurement. One older than the last only says what was then."""
        if self.sample is not None and sample.at < self.sample.at:
            self._late = sample
            return
        self.sample = sample
        used = {thing: count for thing, count, _ in self._counted()}
        for thing in list(self._least):
            if thing in used:
                self._least[thing] = min(self._least[thing], used[thing])
            elif self._least[thing] >= self._before.get(thing, 0):
                self._forget()  # its count is unknown since, and no help had shown
                return

    def weigh(self, policy: Version) -> None:
        """Updates what is short by the last measurement and a policy's marks."""
        counted = list(self._counted())
        self.short &= {thing for thing, _, _ in counted}
        for thing, used, whole in counted:
            high, low = marks(policy, thing[1], whole)
            if used >= high:
                self.short.add(thing)
            if used <= low:
                self.short.discard(thing)
        late, self._late = self._late, None
        for thing, used, whole in _counted(late):
            if used <= marks(policy, thing[1], whole)[1]:
                self.short.discard(thing)
        if not self.short or policy.is_auto:  # where its marks lie is not known
            self.forgiven()

    def wanted(self, policy: Version) -> None:
        """The operator wants space back, down to the low mark."""
        for thing, used, whole in self._counted():
            if used > marks(policy, thing[1], whole)[1]:
                self.short.add(thing)
        self.forgiven()

    @property
    def unseen(self) -> bool:
        """Whether not one filesystem could be measured."""
        return self.sample is None or not self.sample.filesystems

    def __str__(self) -> str:
        return ", ".join(
            f"{used} of {thing[1]} on {thing[0]}" for thing, used, _ in self._counted()
        )

    # --- what does not show yet -----------------------------------------------------------------

    def freed(self, at: float, count: int) -> None:
        """A removal really freed bytes, whatever the disks show."""
        self._ours.append((at, count))

    def weigh_unshown(self, policy: Version, disks: Disks) -> None:
        """A removal is about to be sent: did those before free enough already, on each disk?"""
        late = {one.mountpoint: one for one in disks if one.commits}
        for (mountpoint, what), used, whole in self._counted():
            if (mountpoint, what) not in self.short:
                continue
            unshown = KNOWABLE * self._hidden(late.get(mountpoint), disks)
            low = marks(policy, what, whole)[1]
            if what == "bytes" and unshown > 0 and used - unshown <= low:
                self._enough.add((mountpoint, what))
        freed, self._freed = self._freed, sum(count for _, count in self._ours)
        went = self._freed > freed  # the removal before this one, which may have been refused
        enough = bool(self.short) and self.short <= self._enough
        self.superfluous = self.superfluous + went if enough else 0

    def _hidden(self, disk: Disk | None, disks: Disks) -> int:
        """Bytes that removals freed since the last commit, unless others wrote as many: a disk
        shows at once what is written."""
        if disk is None:
            return 0
        commit, shown = disk.last
        ours = sum(count for at, count in self._ours if at > commit)
        return max(0, min(ours, shown - disks.used(disk)))

    # --- removals that help nobody -------------------------------------------------------------

    def sent(self) -> None:
        """A removal leaves."""
        used = {thing: count for thing, count, _ in self._counted()}
        self._before = {thing: used[thing] for thing in self.short}
        self._least = dict(self._before)

    def ended(self, gone: bool, now: float, late: Collection[str] = ()) -> None:
        """A listing and a measurement after it show what the removal freed; on `late` disks,
        which hold images and had not enough on its way, only the truth does."""
        before, self._before = self._before, {}
        waiting, self._enough = before.keys() - self._enough, set()
        if not before or not gone:
            return
        helped = any(self._least.get(thing, 0) < count for thing, count in before.items())
        really = bool(self._ours) and self._ours[-1][1] > 0
        helped = helped or (really and any(mountpoint in late for mountpoint, _ in waiting))
        self._futile = 0 if helped else self._futile + 1
        if helped:
            self._rests_until = 0.0  # an image that went for its age or as expendable
        elif self._futile == FUTILE:
            self._futile, self._rests_until = 0, now + REST

    def rests(self, now: float) -> bool:
        """Whether removals in a row just freed nothing of what is short."""
        return now < self._rests_until - EPSILON

    def forgiven(self) -> None:
        """Nothing is short any more, or the operator asks for space: earlier removals no longer
        count."""
        self._futile, self._rests_until = 0, 0.0
        self._forget()

    def _forget(self) -> None:
        self._before, self._least = {}, {}

    def _counted(self) -> Iterator[Count]:
        return _counted(self.sample)


def _counted(sample: UsageSample | None) -> Iterator[Count]:
    """How much of each thing measured is in use, of how much."""
    for one in sample.filesystems if sample else ():
        if not 0 <= one.used <= one.capacity or not one.capacity:
            continue  # impossible
        yield (one.mountpoint, "bytes"), one.used, one.capacity
        if one.total_inodes:
            yield (one.mountpoint, "inodes"), one.used_inodes, one.total_inodes


def marks(policy: Version, what: str, whole: int) -> tuple[int, int]:
    """The high and the low mark of `whole` bytes or inodes, as a number in use; auto: the lowest
    they can be."""
    if policy.is_auto:
        high, low = lowest_auto(what, whole)
        return (low if policy.from_low else high), low
    if what == "inodes":
        return int(whole * policy.inodes_high / 100), int(whole * policy.inodes_low / 100)
    low, high = policy.marks(whole)
    return high, low
