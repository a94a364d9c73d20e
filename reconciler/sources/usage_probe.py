"""How full the image filesystems are, by statvfs, every second.

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
from ..domain.inventory import FilesystemUsage, InvisibleFilesystem, UsageSample
from ..domain.runtime import ImageRuntime, RuntimeFailure

EVERY = 1.0  # seconds between samples
PATIENCE = 5.0  # seconds that a filesystem has to answer
ASK_EVERY = 60.0  # seconds between questions for the mountpoints

Measure = Callable[[str], FilesystemUsage]


def measure(mountpoint: str) -> FilesystemUsage:
    """One filesystem, as kubelet and `df` see it: what only root may use counts as used. Raises
    OSError where the path can not be seen from here."""
    found = os.statvfs(mountpoint)
    return FilesystemUsage(
        mountpoint=mountpoint,
        device=os.stat(mountpoint).st_dev,
        capacity=found.f_blocks * found.f_frsize,
        used=(found.f_blocks - found.f_bavail) * found.f_frsize,
        total_inodes=found.f_files,
        used_inodes=found.f_files - found.f_favail,
    )


async def sample(
    mountpoints: Iterable[str],
    measure: Measure,
    clock: Callable[[], float],
    patience: float = PATIENCE,
) -> UsageSample:
    """Measures in a thread, since a disk that hangs must not stop the loop: after `patience`
    seconds it counts as not measured. A filesystem that several directories are on counts once."""
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
        except OSError as error:
            text = f"can not be measured ({error.strerror}); where this runs in a container, mount"
            invisible.append(InvisibleFilesystem(mountpoint, f"{text} the path at the same place"))
            continue
        seen.setdefault(usage.device, usage)
    return UsageSample(at, tuple(seen.values()), tuple(invisible))


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
        self._turn = anyio.Lock()
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
        self, mailbox: Mailbox[Fact], sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    ) -> None:
        """Samples for ever."""
        while True:
            fact = await self.once()
            if fact is not None:
                mailbox.put("usage", fact)
            await sleep(EVERY)
