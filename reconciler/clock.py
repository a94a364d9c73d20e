"""The clock that ages are counted by, in the daemon and in commands."""

from __future__ import annotations

import time


class SteadyClock:
    """Seconds since 1970 that never step: the wall clock at the start, and the monotonic one
    since. A clock set forward by a day must not make every image old."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._offset + time.monotonic()
