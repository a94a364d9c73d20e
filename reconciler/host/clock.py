"""The clocks that ages are counted by, in the daemon and in commands."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # the host's, in a container too
MACHINE_ID = Path("/sys/class/dmi/id/product_uuid")  # the firmware's: /etc is baked in with disks


class SteadyClock:
    """Seconds since 1970 that never step: the wall clock at the start, and the monotonic one
    since. A clock set forward by a day must not make every image old."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._offset + time.monotonic()


@dataclass(frozen=True, slots=True)
class Reading:
    """Two clocks at one moment: the one that ages are counted by, and the machine's own since it
    started, which nobody sets. Kept in the ledger, it tells after a restart what was set."""

    at: float  # seconds since 1970
    boot: str  # which start of the machine
    since_boot: float  # seconds, asleep or not
    machine: str = ""  # which machine; empty: not told

    def stepped(self, before: Reading) -> float:
        """Seconds by which times that were noted by an earlier reading are to be moved, so that
        they tell ages now; less than 0: back. No clock tells across a start of the machine how
        long it was off, nor by how much its clock is wrong now. What has passed for certain is
        what it has been up for since: that makes nothing older than it is, and everything older."""
        passed = self.at - before.at
        if self.boot != before.boot:
            return passed - self.since_boot
        return passed - (self.since_boot - before.since_boot)

    def elsewhere(self, before: Reading) -> bool:
        """Whether an earlier reading was made on another machine, as far as both are told."""
        return "" not in (self.machine, before.machine) and self.machine != before.machine


Clocks = Callable[[], Reading | None]


def unread() -> None:
    """No second clock: whatever the first one says is believed."""


def clocks_of_this_machine(clock: Callable[[], float]) -> Reading | None:
    """Both clocks now; None where the machine does not tell which start of it this is."""
    boot = _boot()
    if not boot:
        return None
    return Reading(clock(), boot, time.clock_gettime(time.CLOCK_BOOTTIME), _machine(MACHINE_ID))


@functools.cache
def _boot() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


@functools.cache
def _machine(path: Path) -> str:
    """A digest: the id itself is for root's eyes only. Empty where the firmware tells none."""
    try:
        told = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return hashlib.sha256(told.encode()).hexdigest()[:16] if told else ""
