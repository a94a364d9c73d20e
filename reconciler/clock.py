"""The clocks that ages are counted by, in the daemon and in commands."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # the host's, in a container too
LEAST_STEP = 1.0  # seconds: less is no step but two clocks that do not run quite alike


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

    def stepped(self, before: Reading) -> float:
        """Seconds by which the first clock was set forward since an earlier reading; less than 0:
        back. 0.0 too where nobody knows, for the machine was started anew in between."""
        if self.boot != before.boot:
            return 0.0
        step = (self.at - before.at) - (self.since_boot - before.since_boot)
        return step if abs(step) >= LEAST_STEP else 0.0


Clocks = Callable[[], Reading | None]


def unread() -> None:
    """No second clock: whatever the first one says is believed."""


def clocks_of_this_machine(clock: Callable[[], float]) -> Reading | None:
    """Both clocks now; None where the machine does not tell which start of it this is."""
    boot = _boot()
    return Reading(clock(), boot, time.clock_gettime(time.CLOCK_BOOTTIME)) if boot else None


@functools.cache
def _boot() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
