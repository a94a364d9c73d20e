"""The disks under the images: several filesystems, inodes, and others who use both up.

`Disks` is the node's truth and what ImageFsInfo tells of it; `Shortage` is the judge's own account
of what the daemon measured. Nothing here asks the product's arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from reconciler.domain.inventory import FilesystemUsage, UsageSample
from reconciler.embedded._pb import workload_pb2 as pb
from reconciler.embedded.calls import Calls
from reconciler.embedded.node import Node

from .policies import Version

INODES = 100_000
INODES_OF_A_LAYER = 800
FUTILE = 10  # removals in a row that freed nothing of what is short
REST = 60.0  # seconds, the first time
EPSILON = 1e-6  # seconds

Thing = tuple[str, str]  # a mountpoint, and "bytes" or "inodes"


@dataclass
class Disk:
    """One filesystem that the runtime names. `holds`: images lie on it, in whole or in part.
    `commits`: seconds between the moments at which it shows what was freed; 0: at once."""

    mountpoint: str
    device: int
    capacity: int
    holds: bool = True
    others: int = 0  # bytes; of the first disk they are the node's `base`
    inodes: int = 0  # 0: no fixed number
    others_inodes: int = 0
    seen: bool = True  # from where the daemon runs
    commits: int = 0
    lie: str = ""  # what it says of itself that can not be
    last: tuple[float, int] = (0.0, 0)  # the last commit, and what was in use then


class Disks:
    """The first one is the node's own; there may be a second."""

    def __init__(self, node: Node, time: Callable[[], float]) -> None:
        self._node, self._time = node, time
        self.first = Disk(node.mountpoint, 1, node.capacity)
        self.second: Disk | None = None

    def __iter__(self) -> Iterator[Disk]:
        yield self.first
        if self.second is not None:
            yield self.second

    def measure(self, mountpoint: str) -> FilesystemUsage:
        """What statvfs says. Raises FileNotFoundError."""
        for disk in self:
            if disk.mountpoint == mountpoint and disk.seen:
                used = min(self.shown(disk), disk.capacity)
                return FilesystemUsage(
                    mountpoint,
                    disk.device,
                    0 if disk.lie == "no size" else disk.capacity,
                    2 * disk.capacity if disk.lie == "too much" else used,
                    disk.inodes,
                    min(self.used_inodes(disk), disk.inodes),
                )
        raise FileNotFoundError(2, "No such file or directory", mountpoint)

    def used(self, disk: Disk) -> int:
        """Bytes in use on it, by images and by others."""
        if disk is self.first:
            return self._node.used()
        return disk.others + (self._node.used() - self._node.base if disk.holds else 0)

    def shown(self, disk: Disk) -> int:
        """Bytes in use, as it tells: what is written at once, what was freed with the next commit;
        others' data at once either way."""
        used = self.used(disk)
        if not disk.commits:
            return used
        commit, (last, before) = self._time() // disk.commits * disk.commits, disk.last
        if commit > last or used >= before:
            disk.last = commit, used
        return disk.last[1]

    def used_inodes(self, disk: Disk) -> int:
        layers = sum(len(image.layers) for image in self._node.images.values())
        return disk.others_inodes + (INODES_OF_A_LAYER * layers if disk.holds else 0)

    def late(self) -> set[str]:
        """Those with images on them that show late what was freed."""
        return {disk.mountpoint for disk in self if disk.commits and disk.holds}

    def fill(self, disk: Disk, percent: float) -> None:
        """Others use so much that it is so full, whatever the images take."""
        wanted = int(disk.capacity * percent / 100)
        if disk is self.first:
            self._node.base = max(0, wanted - (self._node.used() - self._node.base))
        else:
            disk.others = max(0, wanted - (self.used(disk) - disk.others))

    def fill_inodes(self, disk: Disk, percent: float) -> None:
        images = self.used_inodes(disk) - disk.others_inodes
        disk.others_inodes = max(0, int(disk.inodes * percent / 100) - images)

    def calm(self) -> None:
        """All can be seen and tell the truth, at once, and nobody uses up the inodes."""
        for disk in self:
            disk.seen, disk.others_inodes, disk.lie, disk.commits = True, 0, "", 0


class DiskCalls(Calls):
    """ImageFsInfo names every disk."""

    def __init__(self, node: Node, clock: Callable[[], float], disks: Disks) -> None:
        super().__init__(node, clock)
        self._disks = disks

    def image_fs_info(self, request: Any) -> pb.ImageFsInfoResponse:
        told = super().image_fs_info(request)
        if self._disks.second is not None:
            more = told.image_filesystems.add()
            more.CopyFrom(told.image_filesystems[0])
            more.fs_id.mountpoint = self._disks.second.mountpoint
        return told


class Shortage:
    """What is short, by the measurements that the daemon's loop took and the operator's marks: from
    the high mark on, until the low one."""

    def __init__(self) -> None:
        self.sample: UsageSample | None = None
        self.short: set[Thing] = set()
        self._before: dict[Thing, int] = {}  # of what was short when the last removal was sent
        self._least: dict[Thing, int] = {}  # in use since
        self._futile, self._rests_until = 0, 0.0
        self._ours: list[tuple[float, int]] = []  # when a removal freed bytes, and how many
        self.superfluous = 0  # removals in a row for which the ones before had freed enough

    def measured(self, sample: UsageSample) -> None:
        """The loop took a measurement."""
        self.sample = sample
        used = {thing: count for thing, count, _ in self._counted()}
        for thing in list(self._least):
            if thing in used:
                self._least[thing] = min(self._least[thing], used[thing])
            else:
                self._forget()  # who knows what became of it
                return

    def weigh(self, policy: Version) -> None:
        """Where the last measurement lies between a policy's marks."""
        things = {thing for thing, _, _ in self._counted()}
        self.short &= things
        for thing, used, whole in self._counted():
            high, low = marks(policy, thing[1], whole)
            if used >= high:
                self.short.add(thing)
            if used <= low:
                self.short.discard(thing)
        if not self.short:
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
        """A removal freed bytes in truth, whatever the disks show."""
        self._ours.append((at, count))

    def weigh_unshown(self, policy: Version, disks: Disks) -> None:
        """A removal is about to be sent: did those before free enough already, on each disk?"""
        late = {one.mountpoint: one for one in disks if one.commits}
        enough = bool(self.short)
        for (mountpoint, what), used, whole in self._counted():
            if (mountpoint, what) not in self.short:
                continue
            disk = late.get(mountpoint)
            shown_until = disk.last[0] if disk is not None else float("inf")
            unshown = sum(count for at, count in self._ours if at > shown_until)
            low = marks(policy, what, whole)[1]
            enough = enough and what == "bytes" and unshown > 0 and used - unshown <= low
        self.superfluous = self.superfluous + 1 if enough else 0

    # --- removals that help nobody -------------------------------------------------------------

    def sent(self) -> None:
        """A removal leaves."""
        used = {thing: count for thing, count, _ in self._counted()}
        self._before = {thing: used[thing] for thing in self.short}
        self._least = dict(self._before)

    def ended(self, gone: bool, now: float, late: Collection[str] = ()) -> None:
        """A listing and a measurement after it tell what the removal came to; on `late` disks,
        which hold images, only the truth does."""
        before, self._before = self._before, {}
        if not before or not gone:
            return
        helped = any(self._least.get(thing, 0) < count for thing, count in before.items())
        truly = bool(self._ours) and self._ours[-1][1] > 0
        helped = helped or (truly and any(mountpoint in late for mountpoint, _ in before))
        self._futile = 0 if helped else self._futile + 1
        if self._futile == FUTILE:
            self._futile, self._rests_until = 0, now + REST

    def rests(self, now: float) -> bool:
        """Whether removals in a row freed nothing of what is short, a moment ago."""
        return now < self._rests_until - EPSILON

    def forgiven(self) -> None:
        """Nothing is short any more, or the operator says so: what was removed before does not
        count any more."""
        self._futile, self._rests_until = 0, 0.0
        self._forget()

    def _forget(self) -> None:
        self._before, self._least = {}, {}

    def _counted(self) -> Iterator[tuple[Thing, int, int]]:
        """Of each thing measured: how much is in use, of how much."""
        for one in self.sample.filesystems if self.sample else ():
            if not 0 <= one.used <= one.capacity or not one.capacity:
                continue  # it can not be
            yield (one.mountpoint, "bytes"), one.used, one.capacity
            if one.total_inodes:
                yield (one.mountpoint, "inodes"), one.used_inodes, one.total_inodes


def marks(policy: Version, what: str, whole: int) -> tuple[int, int]:
    """The high and the low mark of bytes or inodes in use, of so many."""
    if what == "inodes":
        return int(whole * policy.inodes_high / 100), int(whole * policy.inodes_low / 100)
    low, high = policy.marks(whole)
    return high, low
