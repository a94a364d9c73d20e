"""Carries out one eviction; the only module that has an image removed.

What was decided is checked once more in the last synchronous step before the call is sent: facts
that came in meanwhile count. The call is never cancelled in flight: a RemoveImage cut short can
leave records on containerd that hold their bytes and that nothing lists by name
(containerd/containerd#13875), so shutdown waits for it and its deadline is minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from ..domain.decision import Candidate, expected_bytes
from ..domain.facts import RemovalBegun, RemovalFinished
from ..domain.inventory import UsageSample, image_key
from ..domain.origin import names_to_pull
from ..domain.runtime import ImageRuntime, RuntimeFailure, RuntimeTooLate, RuntimeUnavailable
from ..domain.state import State
from ..domain.watermark import FilesystemState, Pressure, eased


@dataclass(frozen=True, slots=True)
class Attempt:
    """A removal that was sent, until a listing tells what became of it."""

    begun: RemovalBegun
    listed: tuple[str, ...]  # the image's names
    cause: str
    expected: int  # bytes
    before: UsageSample | None
    short: tuple[FilesystemState, ...]  # filesystems that it was to give room
    error: str | None
    lost: bool  # the runtime went away before it answered
    took: float  # seconds

    def finished(self, state: State, after: UsageSample | None, at: float) -> RemovalFinished:
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
            freed=_freed(self.before, after),
            eased=_eased(self.short, after),
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
    before, error, lost, start = state.sample, None, False, monotonic()
    short = tuple(fs for fs in state.filesystems.values() if fs.pressure is Pressure.RECLAIMING)
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
    expected = expected_bytes(candidate.image, state)
    listed, took = candidate.image.names, monotonic() - start
    return Attempt(begun, listed, cause, expected, before, short, error, lost, took)


def _freed(before: UsageSample | None, after: UsageSample | None) -> int | None:
    """Bytes less in use, over all filesystems; None where one was not measured both times."""
    if before is None or after is None:
        return None
    used = {fs.mountpoint: fs.used for fs in before.filesystems}
    if used.keys() != {fs.mountpoint for fs in after.filesystems}:
        return None
    return sum(used[fs.mountpoint] - fs.used for fs in after.filesystems)


def _eased(short: tuple[FilesystemState, ...], after: UsageSample | None) -> bool | None:
    """Whether any filesystem has more of what it was short of; None where nothing was short, or
    one was not measured again."""
    usages = {usage.mountpoint: usage for usage in after.filesystems} if after else {}
    if not short or any(fs.usage.mountpoint not in usages for fs in short):
        return None
    return any(eased(fs, usages[fs.usage.mountpoint]) for fs in short)
