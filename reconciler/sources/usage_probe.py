"""How full the image filesystems are, by statvfs, every second, and more often near a mark.

The directories come from ImageFsInfo; its own `used_bytes` does not count: containerd's is up to
10 s old, CRI-O's is metadata only (our measurement, docs/runtimes.md).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable

import anyio
import anyio.to_thread

from ..aiokit import Mailbox
from ..domain.facts import Fact, UsageSampled
from ..domain.inventory import LARGEST_DISK, FilesystemUsage, InvisibleFilesystem, UsageSample
from ..domain.runtime import ImageRuntime, RuntimeFailure
from ..host.mounts import has_stacked_root, kind_of

EVERY = 1.0  # seconds between samples
PATIENCE = 5.0  # seconds that a filesystem has to answer
ASK_EVERY = 60.0  # seconds between requests for the mountpoints

REMEDY = "where this runs in a container, mount the path at the same place"

Measure = Callable[[str], FilesystemUsage]


class Nonsense(Exception):
    """What a filesystem reports of itself cannot be true of an image filesystem; the text continues
    after its path."""


def measure(mountpoint: str) -> FilesystemUsage:
    """One filesystem, as kubelet sees it: what only root may use counts as used. Raises OSError
    where the path cannot be seen from here, Nonsense where what it reports cannot be."""
    found = os.statvfs(mountpoint)
    if _is_ours(mountpoint) and _is_empty(mountpoint):
        raise Nonsense(f"is an empty directory of this container, not the runtime's; {REMEDY}")
    return usage_from(found, mountpoint, os.stat(mountpoint).st_dev)


def usage_from(stats: os.statvfs_result, mountpoint: str, device: int) -> FilesystemUsage:
    """What statvfs reports of a filesystem. One without a fixed number of inodes may report free
    ones (f_files = 0, f_favail > 0: FUSE): none are counted there."""
    return FilesystemUsage(
        mountpoint=mountpoint,
        device=device,
        capacity=stats.f_blocks * stats.f_frsize,
        used=(stats.f_blocks - stats.f_bavail) * stats.f_frsize,
        total_inodes=stats.f_files,
        used_inodes=stats.f_files - stats.f_favail if stats.f_files else 0,
        reserved=(stats.f_bfree - stats.f_bavail) * stats.f_frsize,
        kind=kind_of(device),
    )


def _is_ours(directory: str) -> bool:
    """Whether a directory lies in this process's own root, and that is a container's."""
    return os.stat(directory).st_dev == os.stat("/").st_dev and has_stacked_root()


def _is_empty(directory: str) -> bool:
    """Every runtime keeps something where it keeps images; an empty directory is what lies under
    a mount that this process does not see."""
    try:
        with os.scandir(directory) as found:
            return next(found, None) is None
    except PermissionError:
        return False


async def sample(
    mountpoints: Iterable[str],
    measure: Measure,
    clock: Callable[[], float],
    patience: float = PATIENCE,
) -> UsageSample:
    """Measures in a thread, since a disk that hangs must not stop the loop: after `patience`
    seconds it counts as not measured. A filesystem that holds several directories counts once."""
    wanted, at = tuple(mountpoints), clock()
    with anyio.move_on_after(patience):
        return await anyio.to_thread.run_sync(_sample, wanted, measure, at, abandon_on_cancel=True)
    return _unanswered(wanted, at)


def _unanswered(mountpoints: Iterable[str], at: float) -> UsageSample:
    text = "does not answer a statvfs; its disk may hang"
    return UsageSample(at, invisible=tuple(InvisibleFilesystem(one, text) for one in mountpoints))


def _sample(mountpoints: tuple[str, ...], measure: Measure, at: float) -> UsageSample:
    seen: dict[int, FilesystemUsage] = {}
    invisible = []
    for mountpoint in mountpoints:
        try:
            usage = measure(mountpoint)
            _check(usage)
        except (OSError, Nonsense) as error:
            invisible.append(InvisibleFilesystem(mountpoint, _why(error)))
            continue
        seen.setdefault(usage.device, usage)
    return UsageSample(at, tuple(seen.values()), tuple(invisible))


def _check(usage: FilesystemUsage) -> None:
    """Raises Nonsense. A filesystem without a size has no mark that could be crossed, nor has one
    that reports all that fits in 64 bits, as some network filesystems do."""
    if usage.capacity <= 0:
        raise Nonsense("reports no size (ramfs and tmpfs may have none): nothing to measure it by")
    if usage.capacity > LARGEST_DISK:
        raise Nonsense(f"reports a size of {usage.capacity} bytes, more than any disk has")
    if not 0 <= usage.used <= usage.capacity:
        raise Nonsense(f"reports that {usage.used} of its {usage.capacity} bytes are in use")
    if not 0 <= usage.used_inodes <= usage.total_inodes:
        text = f"reports that {usage.used_inodes} of its {usage.total_inodes} inodes are in use"
        raise Nonsense(text)


def _why(error: OSError | Nonsense) -> str:
    """For people; continues after the path."""
    if isinstance(error, Nonsense):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return f"names nothing that can be seen from here; {REMEDY}"
    return f"cannot be measured ({error.strerror}); {REMEDY}"


class UsageProbe:
    """Knows the mountpoints, takes samples on demand and every second."""

    def __init__(
        self,
        runtime: ImageRuntime,
        clock: Callable[[], float],
        measure: Measure = measure,
        patience: float = PATIENCE,
    ) -> None:
        self._runtime, self._clock = runtime, clock
        self._ask_filesystem, self._patience = measure, patience
        self._turn = anyio.Lock(fast_acquire=True)
        self._hangs = False  # a thread sits in a statvfs: one is enough
        self.mountpoints: tuple[str, ...] = ()  # as the runtime named them last
        self._asked_at: float | None = None

    async def sample(self) -> UsageSample:
        """Measures now. Without an answer for the mountpoints yet, an empty sample."""
        async with self._turn:
            if self._hangs:
                return _unanswered(self.mountpoints, self._clock())
            return await sample(self.mountpoints, self._measured, self._clock, self._patience)

    def _measured(self, mountpoint: str) -> FilesystemUsage:
        """In the thread, for each mountpoint."""
        self._hangs = True
        try:
            return self._ask_filesystem(mountpoint)
        finally:
            self._hangs = False

    async def once(self) -> Fact | None:
        """One tick: asks for the mountpoints when it is time, and samples."""
        now = self._clock()
        if self._asked_at is None or now - self._asked_at >= ASK_EVERY or not self.mountpoints:
            try:
                self.mountpoints = await self._runtime.image_mountpoints()
                self._asked_at = now
            except RuntimeFailure:
                if not self.mountpoints:
                    return None  # the listing fails too, and says so
        return UsageSampled(await self.sample())

    async def run(
        self,
        mailbox: Mailbox[Fact],
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        pause: Callable[[], float] = lambda: EVERY,
    ) -> None:
        """Samples forever, after each `pause` in seconds. A reader that a removal keeps busy finds
        the last sample of each second: any may show the low mark or the farthest overshoot."""
        while True:
            fact = await self.once()
            if fact is not None:
                mailbox.put(("usage", int(self._clock())), fact)
            await sleep(pause())
