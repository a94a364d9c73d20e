"""Carry out one eviction; the only module that sends RemoveImage.

- The call is never cancelled in flight: a RemoveImage cut short can leave records on containerd
  that hold their bytes and that nothing lists by name (containerd/containerd#13875), so shutdown
  waits for it and its deadline is minutes.
- It is sent by the full id, never by a name.
- Neither an OK nor an error shows the result: an `Attempt` waits for a listing.
- A runtime that went away before it answered refused nothing; one that is only late may still be
  removing the image, and is not asked again soon.
- Gains are reported only if every filesystem was measured before and after.

`reconcile.py` checks whether it may be sent, in the last step before the call;
`domain/removing.py` records the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import anyio

from ..domain.decision import explanation_line, why
from ..domain.facts import RemovalFinished, RemovalPlanned
from ..domain.inventory import FilesystemUsage, UsageSample
from ..domain.origin import names_to_pull
from ..domain.plan import Candidate
from ..domain.removal import Removal
from ..domain.runtime import ImageRuntime, RuntimeFailure, RuntimeTooLate, RuntimeUnavailable
from ..domain.shortage import expected_bytes, greatest_bytes
from ..domain.space import AT_ONCE, Gain, notable
from ..domain.state import State
from ..domain.watermark import FilesystemState, Pressure


@dataclass(frozen=True, slots=True)
class Attempt:
    """A removal that was sent, until a listing shows its result."""

    removal: Removal
    error: str | None
    lost: bool  # the runtime went away before it answered
    took: float  # seconds

    def shows_in(self, after: UsageSample) -> bool:
        """Whether a measurement shows all that a first one can: some filesystem gained bytes or
        inodes, or none is short."""
        removal = self.removal
        found = gains(removal.filesystems, after)
        seen = any(notable(gain.bytes, removal.expected) or gain.inodes > 0 for gain in found)
        return seen or not any(gain.is_short for gain in found)

    def finished(self, state: State, after: UsageSample, at: float) -> RemovalFinished:
        """Returns the result, by a listing absorbed since and by a measurement of the
        filesystems."""
        return RemovalFinished(
            at=at,
            removal=self.removal,
            gone=self.removal.image.key not in state.graph.images,
            error=self.error,
            took=self.took,
            gains=gains(self.removal.filesystems, after),
            lost=self.lost,
            left=self._left(state),
        )

    def _left(self, state: State) -> tuple[str, ...] | None:
        """The names left on the image if it lost others that no image has now; None: it lost none,
        or is gone."""
        image = state.graph.images.get(self.removal.image.key)
        if image is None:
            return None
        lost = set(self.removal.image.names) - set(image.names)
        return image.names if any(not state.graph.keys_named(name) for name in lost) else None


def planned(candidate: Candidate, now: float) -> RemovalPlanned:
    """Returns the fact to record, also on disk, before the last look."""
    image = candidate.image
    return RemovalPlanned(now, image.id, names_to_pull(image, candidate.record.names))


def removal_of(candidate: Candidate, state: State, now: float) -> Removal:
    """Returns a candidate's removal, with all that is known right before the call."""
    image, record = candidate.image, candidate.record
    return Removal(
        image=image,
        names=names_to_pull(image, record.names),
        cause=candidate.cause.value if candidate.cause else "",
        expected=expected_bytes(image.size, state),
        most=greatest_bytes(image.size, state),
        why=why(candidate, now),
        explanation=explanation_line(candidate, state, now),
        record=record,
        listed_at=state.runtime.listed_at,
        filesystems=tuple(state.disks.filesystems.values()),
    )


async def send(runtime: ImageRuntime, removal: Removal, monotonic: Callable[[], float]) -> Attempt:
    """Sends RemoveImage by full id and waits for the answer, also through a cancellation."""
    error, lost, start = None, False, monotonic()
    with anyio.CancelScope(shield=True):
        try:
            await runtime.remove_image(removal.image.id)
        except RuntimeFailure as failure:
            error = str(failure)
            # A runtime that is only late may still be removing: asking again soon would run two.
            lost = isinstance(failure, RuntimeUnavailable) and not isinstance(
                failure, RuntimeTooLate
            )
    return Attempt(removal, error, lost, monotonic() - start)


def gains(before: Iterable[FilesystemState], after: UsageSample) -> tuple[Gain, ...]:
    """Returns what each filesystem gained. One that is not measured after the removal has shown
    nothing so far; what one gained that shows all at once is not known then, so it is left out."""
    usages = {usage.mountpoint: usage for usage in after.filesystems}
    return tuple(
        _gain(fs, usages.get(fs.usage.mountpoint, fs.usage))
        for fs in before
        if fs.usage.mountpoint in usages or fs.usage.kind not in AT_ONCE
    )


def is_less(after: UsageSample, before: UsageSample) -> bool:
    """Whether some filesystem's usage fell since a moment before: it may fall further."""
    taken = {usage.mountpoint: usage.taken for usage in before.filesystems}
    return any(usage.taken < taken.get(usage.mountpoint, 0) for usage in after.filesystems)


def _gain(fs: FilesystemState, after: FilesystemUsage) -> Gain:
    return Gain(
        mountpoint=after.mountpoint,
        bytes=fs.usage.taken - after.taken,
        inodes=fs.usage.used_inodes - after.used_inodes,
        taken=after.taken,
        over_low=fs.bytes_over_low,
        short_of_bytes=fs.by_bytes is Pressure.RECLAIMING,
        short_of_inodes=fs.by_inodes is Pressure.RECLAIMING,
        at_once=after.kind in AT_ONCE,
    )
