"""Logs what concerns the image filesystems: where their marks are, when usage crosses them, and
freed space that shows long after its removal."""

from __future__ import annotations

from ..domain.decision import HoldReason
from ..domain.marks import explained, warnings
from ..domain.space import Removed
from ..domain.state import State
from ..domain.watermark import Pressure
from .evidence import Evidence
from .logs import get_logger
from .metrics import Metrics
from .notes import Notes
from .troubles import Troubles


class Filesystems:
    """Remembers what it has logged about each filesystem."""

    def __init__(
        self, metrics: Metrics, notes: Notes, evidence: Evidence, troubles: Troubles
    ) -> None:
        self._metrics, self._notes, self._evidence = metrics, notes, evidence
        self._troubles, self._log = troubles, get_logger()
        self._pressure: dict[str, Pressure] = {}
        self._without_inodes: set[str] = set()
        self._logged_basis: object = None  # what the marks depend on, when they were last logged

    def sampled(self, state: State, at: float) -> None:
        """Handles a new measurement."""
        self.marks(state)
        for removed in state.disks.shown:
            mountpoint = self._evidence.shown(removed)
            self._notes.shown(mountpoint, removed.freed)
            self._log.info(
                "space-shown",
                image=removed.image_id,
                names=list(removed.names),
                mountpoint=mountpoint,
                after_seconds=round(at - removed.at, 1),
                **freed_of(removed),
            )
        for mountpoint, fs in state.disks.filesystems.items():
            if not fs.usage.total_inodes and mountpoint not in self._without_inodes:
                self._without_inodes.add(mountpoint)
                self._log.info("inode-marks-off", mountpoint=mountpoint, why="no fixed number")
            before = self._pressure.get(mountpoint, Pressure.CALM)
            self._pressure[mountpoint] = fs.pressure
            if fs.pressure is not before:
                self._pressure_changed(mountpoint, state, at)
        for lost in state.disks.invisible:
            self._troubles.warn("filesystem-invisible", f"{lost.mountpoint}: {lost.error}", at)

    def _pressure_changed(self, mountpoint: str, state: State, at: float) -> None:
        """A filesystem crossed its high mark, or reached its low mark again."""
        fs = state.disks.filesystems[mountpoint]
        crossed, percent = fs.pressure is Pressure.RECLAIMING, round(fs.used_percent, 1)
        if crossed:
            self._metrics.crossed(mountpoint, at)
            self._notes.crossed(mountpoint, percent, at)
        else:
            self._metrics.reached(mountpoint, at)
            self._notes.reached(mountpoint, percent, at)
            for reason in HoldReason:
                self._troubles.over(f"hold {reason.value}")
        self._log.info(
            "crossed-high" if crossed else "reached-low",
            mountpoint=mountpoint,
            used_bytes=fs.usage.used,
            used_percent=percent,
            high_bytes=fs.high,
            low_bytes=fs.low,
            margin_bytes=fs.margin,
            overshoot_bytes=None if crossed else state.disks.overshoot(mountpoint).learned,
        )

    def marks(self, state: State) -> None:
        """Logs where each filesystem's marks are and whether kubelet acts before them, once for
        each change of what the marks depend on."""
        basis = (state.disks.bounds, state.operator.policy, tuple(state.disks.filesystems))
        if basis == self._logged_basis or not state.disks.filesystems:
            return
        self._logged_basis = basis
        for mountpoint, fs in state.disks.filesystems.items():
            self._log.info(
                "watermarks",
                mountpoint=mountpoint,
                high_bytes=fs.high,
                low_bytes=fs.low,
                margin_bytes=fs.margin,
                high=explained(fs, state),
            )
        for warning in warnings(state):
            self._log.warning("kubelet-acts-first", detail=warning)


def freed_of(removed: Removed | None) -> dict[str, object]:
    """The log fields for freed bytes; None: not measured, or the space does not show yet."""
    if removed is None:
        return {"freed_bytes": None}
    fields: dict[str, object] = {"freed_bytes": removed.freed}
    return fields | ({"freed_about": True} if removed.approximate else {})
