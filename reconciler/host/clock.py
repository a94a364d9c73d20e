"""The clocks that ages are computed with, in the daemon and in commands."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # the host's, in a container too
# The firmware's: /etc is cloned with disk images.
MACHINE_ID = Path("/sys/class/dmi/id/product_uuid")


class SteadyClock:
    """Seconds since 1970 that never step: the wall clock at the start, and the monotonic one
    since. A clock set forward by a day must not make every image old."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._offset + time.monotonic()


@dataclass(frozen=True, slots=True)
class Reading:
    """Two clocks at one moment: the one that ages are computed with, and the machine's own since it
    started, which nobody sets. Kept in the ledger, it shows after a restart how a clock was set."""

    at: float  # seconds since 1970
    boot: str  # which start of the machine
    since_boot: float  # seconds, asleep or not
    machine: str = ""  # which machine; empty: unknown

    def stepped(self, before: Reading) -> float:
        """Seconds by which times noted at an earlier reading must be moved to give right ages now;
        less than 0: back. After a start of the machine no clock knows how long it was off, nor by
        how much its clock is wrong now. What has certainly passed is its uptime since: with that
        nothing gets older than it is, and everything gets older."""
        passed = self.at - before.at
        if self.boot != before.boot:
            return passed - self.since_boot
        return passed - (self.since_boot - before.since_boot)

    def elsewhere(self, before: Reading) -> bool:
        """Whether an earlier reading was made on another machine, where both machines are known."""
        return "" not in (self.machine, before.machine) and self.machine != before.machine


Clocks = Callable[[], Reading | None]


def no_second_clock() -> None:
    """For `Clocks` where there is no second clock: the first one is believed."""


def clocks_of_this_machine(clock: Callable[[], float]) -> Reading | None:
    """Both clocks now; None where the machine has no boot id."""
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
    """A digest, since only root may read the id itself. Empty where the firmware has none."""
    try:
        uuid = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return hashlib.sha256(uuid.encode()).hexdigest()[:16] if uuid else ""
