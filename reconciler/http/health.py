"""Liveness and readiness of the process, which kubelet probes separately."""

from __future__ import annotations

from collections.abc import Callable

from ..domain.state import State

SILENCE = 15.0  # seconds without a turn of the event loop after which it counts as stalled


class Pulse:
    """Beats while the event loop turns. The event reader runs on the same loop, so both run or
    neither; a pass that awaits a slow call does not stop it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._beat_at = monotonic()
        self.lag = 0.0  # seconds by which the last beat was late

    def beat(self, expected_after: float) -> None:
        """Notes a beat that should have come `expected_after` seconds after the last."""
        now = self._monotonic()
        self.lag = max(0.0, now - self._beat_at - expected_after)
        self._beat_at = now

    def silent_for(self) -> float:
        return self._monotonic() - self._beat_at


def missing(state: State) -> list[str]:
    """What keeps the daemon from being ready, a line each; empty: it is ready."""
    reasons = []
    if state.runtime.listed_at is None:
        reasons.append(f"no complete listing yet: {state.runtime.listing_trouble or 'not made'}")
    elif state.runtime.listing_trouble is not None:
        reasons.append(f"the last listing failed: {state.runtime.listing_trouble}")
    if state.operator.policy is None:
        problem = state.operator.problems[0] if state.operator.problems else "not read"
        reasons.append(f"no valid policy yet: {problem}")
    if state.disks.sample is None or not state.disks.sample.filesystems:
        reasons.append("no image filesystem measured yet")
        reasons += [f"{fs.mountpoint}: {fs.error}" for fs in state.disks.invisible]
    return reasons
