"""The disks under a simulated node's images: several, with inodes or without, some that show late
what was freed or report impossible values, and other users that fill them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ..domain.inventory import FilesystemUsage
from .stored import Stored

INODES_OF_A_LAYER = 800


class Holder(Protocol):
    """The node whose images are on the disks."""

    capacity: int
    base: int
    mountpoint: str
    images: dict[str, Stored]

    def used(self) -> int: ...


@dataclass
class Disk:
    """One filesystem that the runtime names. `holds`: images are on it, in whole or in part.
    `commits`: seconds between the moments at which it shows what was freed; 0: at once."""

    mountpoint: str
    device: int
    capacity: int
    holds: bool = True
    others: int = 0  # bytes of other users; on the first disk they are the node's `base`
    inodes: int = 0  # 0: no fixed number
    others_inodes: int = 0
    seen: bool = True  # by the daemon
    commits: int = 0
    kind: str = ""  # as the kernel names it, ext4 for one
    misreports: str = ""  # which impossible value it reports
    last: tuple[float, int] = (0.0, 0)  # the last commit, and what was in use then


class Disks:
    """The disks: the first one is the node's own; there may be a second."""

    def __init__(self, node: Holder, time: Callable[[], float]) -> None:
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
                    0 if disk.misreports == "no size" else disk.capacity,
                    2 * disk.capacity if disk.misreports == "too much" else used,
                    disk.inodes,
                    min(self.used_inodes(disk), disk.inodes),
                    kind=disk.kind,
                )
        raise FileNotFoundError(2, "No such file or directory", mountpoint)

    def used(self, disk: Disk) -> int:
        """Bytes in use on a disk, by images and by others."""
        if disk is self.first:
            return self._node.used()
        return disk.others + (self._node.used() - self._node.base if disk.holds else 0)

    def shown(self, disk: Disk) -> int:
        """Bytes in use, as the disk shows them: what was written at once, what was freed with the
        next commit; others' data at once in both cases."""
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
        """Mountpoints of the disks with images that show late what was freed."""
        return {disk.mountpoint for disk in self if disk.commits and disk.holds}

    def fill(self, disk: Disk, percent: float) -> None:
        """Lets others use so much that the disk is this full, whatever the images take."""
        wanted = int(disk.capacity * percent / 100)
        if disk is self.first:
            self._node.base = max(0, wanted - (self._node.used() - self._node.base))
        else:
            disk.others = max(0, wanted - (self.used(disk) - disk.others))

    def fill_inodes(self, disk: Disk, percent: float) -> None:
        images = self.used_inodes(disk) - disk.others_inodes
        disk.others_inodes = max(0, int(disk.inodes * percent / 100) - images)

    def calm(self) -> None:
        """Makes all disks visible, truthful and without delay, and frees others' inodes."""
        for disk in self:
            disk.seen, disk.others_inodes, disk.misreports, disk.commits = True, 0, "", 0
