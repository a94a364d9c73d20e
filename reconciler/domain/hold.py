"""The doubts that hold all removal: anything unknown is a reason not to remove.

- They are checked in order for every plan, and once more right before every call; the first that
  applies is reported, and says what would end it where that is known.
- Nothing overrides a hold: no mark, no maximum age, and not the operator's own command.
- A doubt about one container or sandbox holds all removal for `NARROW_AFTER` seconds; then it
  narrows to the images that it can concern (possible_uses.py), and never just ends.
- If one of several filesystems cannot be measured, removal goes on for the others; if none can,
  nothing is removed.
- A list without any container is believed once later ones say the same.
- Holds that wait for pods end at a known moment: removal waits a moment for a silent pod source
  (awaited.py), and starting pods take turns with removal (starting_pods.py).

Reasons to leave the cache alone though a disk is too full are `shortage.py`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .context import pause_name
from .humanize import and_more, counted, duration
from .inventory import ContainerState
from .policy import Policy
from .state import State
from .unanswered import NARROW_AFTER

BLANK_DOUBTED = 5.0  # seconds until lists without any container are believed


class HoldReason(enum.Enum):
    """Why nothing is removed at all now."""

    POLICY_UNKNOWN = "policy-unknown"
    PAUSED = "paused"
    ANOTHER_REMOVER = "another-remover"
    LISTING_DUE = "listing-due"
    LISTING_DOUBTFUL = "listing-doubtful"
    ANOTHER_IMAGE_SERVICE = "another-image-service"
    RUNTIME_UNAVAILABLE = "runtime-unavailable"
    CONTAINER_UNRESOLVED = "container-unresolved"
    DETAILS_PENDING = "details-pending"
    FILESYSTEM_UNMEASURED = "filesystem-unmeasured"
    REMOVER_UNKNOWN = "remover-unknown"
    SANDBOX_IMAGE_UNKNOWN = "sandbox-image-unknown"
    POD_STARTING = "pod-starting"
    PODS_UNKNOWN = "pods-unknown"
    SPACE_PENDING = "space-pending"
    RESTING = "resting"
    EXHAUSTED = "exhausted"


# Doubts that narrow in a process that runs for long enough.
NARROWING = frozenset(
    {HoldReason.CONTAINER_UNRESOLVED, HoldReason.DETAILS_PENDING, HoldReason.SANDBOX_IMAGE_UNKNOWN}
)


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason to remove nothing now, with a sentence for people, and when it ends by itself."""

    reason: HoldReason
    detail: str
    until: float | None = None


def hold_on(state: State, policy: Policy | None, now: float) -> Hold | None:
    """Returns the first doubt that applies."""
    if policy is None:
        problem = and_more(list(state.operator.problems[:1]), list(state.operator.problems))
        return Hold(HoldReason.POLICY_UNKNOWN, f"no valid policy yet: {problem or 'not read'}")
    if state.operator.paused_at is not None:
        since = duration(now - state.operator.paused_at)
        return Hold(HoldReason.PAUSED, f"paused by the operator {since} ago, until resumed")
    if state.remover is not None and state.stands_by:
        text = f"{state.remover.other} removes images here; this one takes over when that one ends"
        return Hold(HoldReason.ANOTHER_REMOVER, text)
    if state.runtime.listing_trouble is not None:
        return Hold(HoldReason.RUNTIME_UNAVAILABLE, state.runtime.listing_trouble)
    if (
        state.runtime.listing_stale
        or state.graph.needs_relist
        or state.removals.under_way is not None
    ):
        return Hold(HoldReason.LISTING_DUE, "no complete listing since the last change")
    return (
        _image_service_hold(state)
        or _container_hold(state, now)
        or _details_hold(state, now)
        or _filesystem_hold(state)
        or _remover_hold(state)
        or _sandbox_hold(state, now)
        or _blank_hold(state)
        or _pods_hold(state, now)
    )


def _image_service_hold(state: State) -> Hold | None:
    """Images are listed at a separate socket that seems to be another runtime's, so that nothing
    would be known here of what its containers use."""
    runtime = state.runtime.version
    images = runtime.images if runtime else None
    if runtime is None or images is None:
        return None
    who = f"{images.name} {images.version}".strip()
    if images.name and (images.name, images.version) != (runtime.name, runtime.version):
        text = f"images are listed by {who} at {images.socket}, and containers by "
        text += f"{runtime.name} {runtime.version}"
    elif missing := _all_missing(state):
        text = f"not one of the images of {counted(missing, 'running container')} is listed at "
        text += images.socket
    else:
        return None
    text += "; if that is another runtime, drop the image endpoint (--image-endpoint, "
    text += "IMAGE_SERVICE_ENDPOINT or /etc/crictl.yaml) or name this one's"
    return Hold(HoldReason.ANOTHER_IMAGE_SERVICE, text)


def _all_missing(state: State) -> int:
    """How many containers are running, if none of their images is listed; else 0."""
    count = 0
    for container in state.graph.containers.values():
        keys = state.graph.images_of(container)
        if container.state is not ContainerState.RUNNING or not keys:
            continue
        if not keys.isdisjoint(state.graph.images):
            return 0
        count += 1
    return count


def _container_hold(state: State, now: float) -> Hold | None:
    for container_id, since in state.graph.unresolved.items():
        if now - since < NARROW_AFTER:
            container = state.graph.containers[container_id]
            text = f"container {container.name} ({container_id[:13]}) refers to "
            text += repr(container.image_ref or container.image)
            left = duration(NARROW_AFTER - (now - since))
            text += f", which no listed image answers to; narrows to its names in {left}"
            return Hold(HoldReason.CONTAINER_UNRESOLVED, text)
    return None


def _details_hold(state: State, now: float) -> Hold | None:
    pending = state.pending(now)
    if not pending:
        return None
    of = counted(len(pending), "container or sandbox", "containers and sandboxes")
    text = f"image volumes or pause image of {of} not known yet"
    text += f" ({state.runtime.ask_trouble})" if state.runtime.ask_trouble else ""
    since = state.runtime.unanswered.since
    refused = [since[one] for one in pending if one in since]
    if refused:
        left = duration(NARROW_AFTER - (now - min(refused)))
        text += f"; narrows to the images that it can concern in {left}"
    return Hold(HoldReason.DETAILS_PENDING, text)


def _filesystem_hold(state: State) -> Hold | None:
    reason = HoldReason.FILESYSTEM_UNMEASURED
    if state.disks.sample is None:
        return Hold(reason, "the image filesystem has not been measured yet")
    if state.disks.sample.filesystems:
        return None  # one that cannot be measured is not short, for all that is known
    for lost in state.disks.sample.invisible:
        return Hold(reason, f"image filesystem {lost.mountpoint}: {lost.error}")
    return Hold(reason, "the runtime names no image filesystem")


def blank_doubted(state: State) -> float:
    """How many seconds later than the last one a listing must be for lists without any container
    to be believed; 0: nothing is doubted."""
    if state.runtime.blank_since is None or state.runtime.listed_at is None:
        return 0.0
    return max(0.0, state.runtime.blank_since + BLANK_DOUBTED - state.runtime.listed_at)


def _remover_hold(state: State) -> Hold | None:
    """It is unknown whether there is another remover."""
    if state.remover is None or state.remover.trouble is None:
        return None
    return Hold(HoldReason.REMOVER_UNKNOWN, state.remover.trouble)


def _blank_hold(state: State) -> Hold | None:
    """All users vanished at once: every pod ended, or the runtime lost them."""
    if not blank_doubted(state):
        return None
    boxes = counted(len(state.graph.sandboxes), "sandbox", "sandboxes")
    text = f"not one container is listed, next to {boxes}; "
    return Hold(HoldReason.LISTING_DOUBTFUL, text + "believed once later listings say the same")


def _pods_hold(state: State, now: float) -> Hold | None:
    """Waits a moment for a pod source that has reported nothing yet; and for a pod that is about
    to make its first containers from images that are unknown."""
    waits = state.pods.awaited.waits(now)
    if waits:
        text = f"the source of pods has reported nothing yet; removal waits {duration(waits)} more"
        return Hold(HoldReason.PODS_UNKNOWN, text, now + waits)
    starts = state.unknown_starts(now) if state.pods.starts.may_hold(now) else []
    if not starts:
        return None
    starts.sort(key=lambda start: start.until, reverse=True)
    names = [start.sandbox.name for start in starts]
    several = "pods {} are starting, and it is unknown which images they need"
    one = "pod {} is starting, and it is unknown which images it needs"
    text = (one if len(names) == 1 else several).format(and_more(names[:1], names))
    until = starts[0].until
    text += f"; {duration(until - now)} more at the most"
    return Hold(HoldReason.POD_STARTING, text, until)


def _sandbox_hold(state: State, now: float) -> Hold | None:
    """Sandboxes run on an image, and nothing identifies it, not even a pin."""
    boxes = [box for box in state.graph.sandboxes.values() if not box.pauseless]
    named = state.runtime.configured_pause or any(box.pause for box in boxes)
    asked = [state.runtime.unanswered.since.get(box.id, now) for box in boxes]
    if not boxes or named or now - min(asked) >= NARROW_AFTER:
        return None
    images = state.graph.images.values()
    if any(image.pinned or pause_name(image, image.names, state) for image in images):
        return None
    left = duration(NARROW_AFTER - (now - min(asked)))
    text = "sandboxes run, but no runtime answer, pin or name identifies their pause image; "
    text += f"narrows to the images that may be one in {left}"
    return Hold(HoldReason.SANDBOX_IMAGE_UNKNOWN, text)
