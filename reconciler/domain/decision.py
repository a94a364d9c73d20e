"""Which image goes next, if any: `decide(state, policy, now) -> Plan`, a pure function.

1. A hold stops everything (`Hold`; the ladder in `_hold`): no valid policy, the operator's own
   pause, no complete listing since the last removal or since an event that raised doubt, a
   container whose image can not be told, something not asked yet, a filesystem not measured, no
   sandbox image known.
2. An image with any protection is kept (`protection.py`).
3. What is left are candidates, in the order of `removal_order`.
4. A candidate goes for a cause: a filesystem is above its mark and not yet back at the low one;
   it was unused for longer than the maximum; the operator's own command.
5. A plan evicts at most one image. Then everything is asked and decided anew.
6. When all candidates together can not bring usage to the low mark, none goes: the space is not
   the images', and an empty cache would help nobody.
"""

from __future__ import annotations

import enum
import itertools
from dataclasses import dataclass, replace

from .inventory import Image
from .ledger import ImageRecord
from .policy import Policy
from .protection import (
    NARROW_AFTER,
    Kind,
    Protection,
    Scene,
    and_more,
    duration,
    holding,
    is_pause,
    verdicts,
)
from .state import State
from .watermark import FilesystemState, Pressure

# What a removal frees, as a multiple of the listed size (docs/runtimes.md): containerd lists
# compressed bytes and keeps both forms, about 1 + 2.7 on python:3.12; CRI-O lists unpacked ones.
EXPECTED_YIELD = {"containerd": 3.0}
GREATEST_YIELD = {"containerd": 16.0}


BLANK_DOUBTED = 5.0  # seconds until lists without any container are believed


class Cause(enum.Enum):
    """Why a candidate goes."""

    WATERMARK = "watermark"
    UNUSED_AGE = "unused-age"
    COMMAND = "command"


class HoldReason(enum.Enum):
    """Why nothing is removed at all now."""

    POLICY_UNKNOWN = "policy-unknown"
    PAUSED = "paused"
    LISTING_DUE = "listing-due"
    LISTING_DOUBTFUL = "listing-doubtful"
    RUNTIME_UNAVAILABLE = "runtime-unavailable"
    CONTAINER_UNKNOWN = "container-unknown"
    DETAILS_PENDING = "details-pending"
    FILESYSTEM_UNMEASURED = "filesystem-unmeasured"
    SANDBOX_IMAGE_UNKNOWN = "sandbox-image-unknown"
    RESTING = "resting"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason to remove nothing now, with a sentence for people."""

    reason: HoldReason
    detail: str


@dataclass(frozen=True, slots=True)
class Command:
    """The operator's own command: removes while usage is above the policy's low mark, or, with
    `all_unused`, everything that nothing protects."""

    all_unused: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image with no protection, its place in the order, and whether it would go now."""

    image: Image
    record: ImageRecord
    rank: int
    cause: Cause | None  # None: it stays, for now

    @property
    def goes(self) -> bool:
        return self.cause is not None


@dataclass(frozen=True, slots=True)
class Kept:
    """An image and what keeps it: the first reason found, or all of them in a thorough plan."""

    image: Image
    protections: tuple[Protection, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer: every image is in exactly one of the two lists."""

    hold: Hold | None
    candidates: tuple[Candidate, ...]
    kept: tuple[Kept, ...]
    pressure: Pressure
    bytes_over_low: int
    look_again_at: float | None = None  # when the first protection that ends by itself does

    @property
    def eviction(self) -> Candidate | None:
        """The one image to remove now."""
        if self.hold is not None:
            return None
        return next((candidate for candidate in self.candidates if candidate.goes), None)

    def __str__(self) -> str:
        going = [candidate for candidate in self.candidates if candidate.goes]
        size = sum(candidate.image.size for candidate in going)
        total = len(self.candidates) + len(self.kept)
        text = f"remove {len(going)} of {total} images, {size / 2**20:.1f} MiB as listed"
        text += f"; {len(self.candidates) - len(going)} more could go, {len(self.kept)} kept"
        return text + (f"; on hold: {self.hold.detail}" if self.hold else "")


def decide(
    state: State,
    policy: Policy | None,
    now: float,
    *,
    command: Command | None = None,
    thorough: bool = False,
) -> Plan:
    """The rules at the head of this file. `thorough` gives every protection of every kept image,
    for people; the loop needs only one."""
    scene = Scene(state, policy or Policy(), now)
    free: list[Image] = []
    kept: list[Kept] = []
    for image in state.graph.images.values():
        reasons = holding(image, scene)
        protections = tuple(reasons if thorough else itertools.islice(reasons, 1))
        if protections:
            kept.append(Kept(image, protections))
        else:
            free.append(image)
    free.sort(key=lambda image: removal_order(image, state, now))
    candidates = _with_causes(free, scene, command)
    hold = _hold(state, policy, now)
    if hold is not None:
        candidates = tuple(replace(candidate, cause=None) for candidate in candidates)
    elif rest := _rest(state, candidates, now, command):
        candidates = tuple(_spared(candidate) for candidate in candidates)
        hold = None if any(candidate.goes for candidate in candidates) else rest
    over = sum(fs.bytes_over_low for fs in state.filesystems.values())
    ends = [_ends_at(one, scene) for one in kept]
    again = min((end for end in ends if end is not None), default=None)
    return Plan(hold, candidates, tuple(kept), state.pressure, over, again)


def explain(image: Image, state: State, policy: Policy, now: float) -> tuple[Protection, ...]:
    """Every protection's verdict on one image."""
    return verdicts(image, Scene(state, policy, now))


def objection(
    image: Image, state: State, policy: Policy | None, now: float, command: Command | None = None
) -> str | None:
    """Why one image may not be removed after all: the last look, right before the call is sent."""
    hold = _hold(state, policy, now)
    if hold is not None or policy is None:
        return hold.detail if hold else "no policy"
    if image.key not in state.graph.images:
        return "it is not listed any more"
    scene = Scene(state, policy, now)
    found = next(holding(state.graph.images[image.key], scene), None)
    if found is not None:
        return found.detail
    needed = _cause(state.record(image.key, now), scene, _missing(state) > 0, command)
    return None if needed else "it need not go any more: the marks or the usage have changed"


def expected_bytes(image: Image, state: State) -> int:
    """What removing an image may free, by a rough factor: layers that others share stay."""
    return int(image.size * _yield(state, EXPECTED_YIELD))


def removal_order(image: Image, state: State, now: float) -> tuple[float, float, str]:
    """The candidate that sorts first goes first: last used, then first seen, then id. An image
    never used sorts by when it was first seen alone: that is all we know of it."""
    record = state.record(image.key, now)
    last_used = record.last_used if record.last_used is not None else record.first_seen
    return last_used, record.first_seen, image.id


def _with_causes(free: list[Image], scene: Scene, command: Command | None) -> tuple[Candidate, ...]:
    """Which candidates would go, by an estimate: removal is measured after each, so the estimate
    decides only what is shown, never what is done."""
    missing = _missing(scene.state)
    candidates = []
    for rank, image in enumerate(free, 1):
        record = scene.state.record(image.key, scene.now)
        cause = _cause(record, scene, missing > 0, command)
        if cause is not None:
            missing -= expected_bytes(image, scene.state)
        candidates.append(Candidate(image, record, rank, cause))
    return tuple(candidates)


def _ends_at(kept: Kept, scene: Scene) -> float | None:
    """When the protection found ends by itself, where time alone ends it soon."""
    match kept.protections[0].kind:
        case Kind.YOUNG:
            record = scene.state.record(kept.image.key, scene.now)
            return max(record.first_seen, record.last_used or 0.0) + scene.policy.minimum_age
        case Kind.REFUSED:
            return scene.state.refusals[kept.image.key].until
    return None


def _spared(candidate: Candidate) -> Candidate:
    """The candidate without the watermark as a cause: other causes stand."""
    return replace(candidate, cause=None) if candidate.cause is Cause.WATERMARK else candidate


def _cause(
    record: ImageRecord, scene: Scene, missing: bool, command: Command | None
) -> Cause | None:
    if command is not None and (command.all_unused or missing):
        return Cause.COMMAND
    unused = scene.now - max(record.first_seen, record.last_used or 0.0)
    longest = scene.policy.maximum_unused_age
    if command is None and longest and unused >= longest:
        return Cause.UNUSED_AGE
    return Cause.WATERMARK if command is None and missing else None


def _missing(state: State) -> float:
    """Bytes to free, over all filesystems. Short of inodes alone: one, since no image tells its
    inodes, so that exactly the next candidate is said to go."""
    over = sum(fs.bytes_over_low for fs in state.filesystems.values())
    return over or (1.0 if state.pressure is Pressure.RECLAIMING else 0.0)


def _yield(state: State, table: dict[str, float]) -> float:
    """Bytes freed for each byte listed; 1 where the runtime lists unpacked sizes."""
    return 1.0 if state.version and state.version.sizes_are_unpacked else table["containerd"]


def _hold(state: State, policy: Policy | None, now: float) -> Hold | None:
    """The ladder of doubts; the first that applies is told."""
    if policy is None:
        problem = and_more(list(state.policy_problems[:1]), list(state.policy_problems))
        return Hold(HoldReason.POLICY_UNKNOWN, f"no valid policy yet: {problem or 'not read'}")
    if state.paused_at is not None:
        since = duration(now - state.paused_at)
        return Hold(HoldReason.PAUSED, f"paused by the operator {since} ago, until resumed")
    if state.listing_trouble is not None:
        return Hold(HoldReason.RUNTIME_UNAVAILABLE, state.listing_trouble)
    if state.listing_spent or state.graph.ambiguous or state.removing is not None:
        return Hold(HoldReason.LISTING_DUE, "no complete listing since the last change")
    return (
        _container_hold(state, now)
        or _filesystem_hold(state)
        or _sandbox_hold(state)
        or _blank_hold(state)
    )


def _container_hold(state: State, now: float) -> Hold | None:
    for container_id, since in state.graph.untold.items():
        if now - since < NARROW_AFTER:
            container = state.graph.containers[container_id]
            text = f"container {container.name} ({container_id[:13]}) refers to "
            text += repr(container.image_ref or container.image)
            left = duration(NARROW_AFTER - (now - since))
            text += f", which no listed image answers to; narrows to its names in {left}"
            return Hold(HoldReason.CONTAINER_UNKNOWN, text)
    waiting = len(state.asks_volumes) + len(state.graph.unasked_sandboxes)
    if waiting:
        text = f"image volumes or pause image of {waiting} containers and sandboxes not known yet"
        trouble = f" ({state.ask_trouble})" if state.ask_trouble else ""
        return Hold(HoldReason.DETAILS_PENDING, text + trouble)
    return None


def _filesystem_hold(state: State) -> Hold | None:
    reason = HoldReason.FILESYSTEM_UNMEASURED
    if state.sample is None:
        return Hold(reason, "the image filesystem has not been measured yet")
    if state.sample.invisible:
        lost = state.sample.invisible[0]
        return Hold(reason, f"image filesystem {lost.mountpoint}: {lost.error}")
    if not state.sample.filesystems:
        return Hold(reason, "the runtime names no image filesystem")
    return None


def _blank_hold(state: State) -> Hold | None:
    """A sweep of all users at once: the end of every pod, or a runtime that forgot them."""
    if state.blank_since is None or state.listed_at is None:
        return None
    if state.listed_at - state.blank_since >= BLANK_DOUBTED:
        return None
    text = f"not one container is listed, beside {len(state.graph.sandboxes)} sandboxes; "
    return Hold(HoldReason.LISTING_DOUBTFUL, text + "believed once later listings say the same")


def _sandbox_hold(state: State) -> Hold | None:
    """Sandboxes run, and none of the ways to know a sandbox image names one: not even a pin."""
    told = state.configured_pause or any(box.pause for box in state.graph.sandboxes.values())
    if not state.graph.sandboxes or told:
        return None
    images = state.graph.images.values()
    if any(image.pinned or any(map(is_pause, image.names)) for image in images):
        return None
    text = "sandboxes run, but no runtime answer, pin or name tells their pause image; "
    return Hold(HoldReason.SANDBOX_IMAGE_UNKNOWN, text + "pin it in the runtime's configuration")


def _rest(
    state: State, candidates: tuple[Candidate, ...], now: float, command: Command | None
) -> Hold | None:
    """Reasons to leave the cache alone though there is pressure."""
    if state.pressure is Pressure.CALM or command is not None:
        return None
    if now < state.rest_until:
        left = duration(state.rest_until - now)
        return Hold(HoldReason.RESTING, f"the last removals freed nothing; next try in {left}")
    most = sum(candidate.image.size for candidate in candidates) * _yield(state, GREATEST_YIELD)
    short = [fs for fs in state.filesystems.values() if fs.bytes_over_low]
    if candidates and all(most >= fs.bytes_over_low for fs in short):
        return None
    return Hold(HoldReason.EXHAUSTED, _exhausted(state, candidates))


def _exhausted(state: State, candidates: tuple[Candidate, ...]) -> str:
    size = sum(candidate.image.size for candidate in candidates)
    images = sum(image.size for image in state.graph.images.values())
    parts = [_situation(fs) for fs in state.filesystems.values()]
    return (
        f"{len(candidates)} candidates of {size} bytes as listed can not bring it to the low mark "
        f"(all {len(state.graph.images)} images: {images} bytes); " + "; ".join(parts)
    )


def _situation(fs: FilesystemState) -> str:
    usage = fs.usage
    text = f"{usage.mountpoint}: {usage.used} of {usage.capacity} bytes used, low mark {fs.low}"
    if usage.total_inodes:
        text += f", {usage.used_inodes} of {usage.total_inodes} inodes, low mark {fs.inodes_low}"
    return text
