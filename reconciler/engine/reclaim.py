"""Carries out one eviction; the only module that has an image removed.

What was decided is checked once more in the last synchronous step before the call is sent: facts
that came in meanwhile count. The call is never cancelled in flight: a RemoveImage cut short can
leave records on containerd that hold their bytes and that nothing lists by name
(containerd/containerd#13875), so shutdown waits for it and its deadline is minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import anyio

from ..domain.decision import Candidate
from ..domain.facts import RemovalBegun, RemovalFinished
from ..domain.inventory import FilesystemUsage, UsageSample, image_key
from ..domain.origin import names_to_pull
from ..domain.runtime import ImageRuntime, RuntimeFailure, RuntimeTooLate, RuntimeUnavailable
from ..domain.shortage import expected_bytes, greatest_bytes
from ..domain.space import AT_ONCE, Gain, notable
from ..domain.state import State
from ..domain.watermark import FilesystemState, Pressure


@dataclass(frozen=True, slots=True)
class Attempt:
    """A removal that was sent, until a listing tells what became of it."""

    begun: RemovalBegun
    listed: tuple[str, ...]  # the image's names
    cause: str
    expected: int  # bytes
    most: int  # bytes
    before: tuple[FilesystemState, ...]
    error: str | None
    lost: bool  # the runtime went away before it answered
    took: float  # seconds

    def shows_in(self, after: UsageSample) -> bool:
        """Whether a measurement shows all that a first one can: of what is short, there is more
        on some filesystem, or nothing is short."""
        found = gains(self.before, after)
        seen = any(notable(gain.bytes, self.expected) or gain.inodes > 0 for gain in found)
        return seen or not any(gain.is_short for gain in found)

    def finished(self, state: State, after: UsageSample, at: float) -> RemovalFinished:
        """What became of it, by a listing absorbed since and by the filesystems' word."""
        begun = self.begun
        return RemovalFinished(
            at=at,
            image_id=begun.image_id,
            names=begun.names,
            cause=self.cause,
            gone=image_key(begun.image_id) not in state.graph.images,
            left=self._left(state),
            error=self.error,
            took=self.took,
            expected=self.expected,
            most=self.most,
            gains=gains(self.before, after),
            lost=self.lost,
        )

    def _left(self, state: State) -> tuple[str, ...] | None:
        """The names that the image has where it lost others to nobody; None: it lost none, or is
        gone."""
        image = state.graph.images.get(image_key(self.begun.image_id))
        if image is None:
            return None
        lost = set(self.listed) - set(image.names)
        return image.names if any(not state.graph.keys_named(name) for name in lost) else None


def begin(candidate: Candidate, now: float) -> RemovalBegun:
    """The fact to remember, on disk too, before the call is sent: with the names that would bring
    the image back."""
    image = candidate.image
    return RemovalBegun(now, image.id, names_to_pull(image, candidate.record.names))


async def send(
    runtime: ImageRuntime,
    candidate: Candidate,
    begun: RemovalBegun,
    state: State,
    monotonic: Callable[[], float],
) -> Attempt:
    """Sends RemoveImage by full id and waits for the answer, also through a cancellation."""
    before, error, lost, start = tuple(state.filesystems.values()), None, False, monotonic()
    with anyio.CancelScope(shield=True):
        try:
            await runtime.remove_image(begun.image_id)
        except RuntimeFailure as failure:
            error = str(failure)
            # One that is only late may still be at it: to ask again soon would make two of them.
            lost = isinstance(failure, RuntimeUnavailable) and not isinstance(
                failure, RuntimeTooLate
            )
    cause = candidate.cause.value if candidate.cause else ""
    size = candidate.image.size
    expected, most = expected_bytes(size, state), greatest_bytes(size, state)
    listed, took = candidate.image.names, monotonic() - start
    return Attempt(begun, listed, cause, expected, most, before, error, lost, took)


def gains(before: Iterable[FilesystemState], after: UsageSample) -> tuple[Gain, ...]:
    """What each filesystem gained; none where one was not measured both times."""
    usages = {usage.mountpoint: usage for usage in after.filesystems}
    if any(fs.usage.mountpoint not in usages for fs in before):
        return ()
    return tuple(_gain(fs, usages[fs.usage.mountpoint]) for fs in before)


def is_less(after: UsageSample, before: UsageSample) -> bool:
    """Whether less is in use of some filesystem than a moment before: more may be to come."""
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
