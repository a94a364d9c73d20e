"""Facts: what was observed, named in the past tense, as frozen values. Sources put them into the
mailbox; the one loop absorbs them into its state. A fact never says what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .inventory import ContainerEvent, Listing, UsageSample, Volume
from .kubelet_lines import KubeletConfig, NodeFilesystem
from .pods import Pod
from .policy import Policy
from .removal import Removal
from .runtime import RuntimeVersion
from .space import Gain


@dataclass(frozen=True, slots=True)
class ContainerChanged:
    """The runtime sent an event. `received_at` is when its bytes were read."""

    event: ContainerEvent
    received_at: float


@dataclass(frozen=True, slots=True)
class EventsOpened:
    """A subscription was made. The runtime does not acknowledge one (docs/runtimes.md), so this
    says only that the call is in progress: list now, and once more soon."""

    at: float


@dataclass(frozen=True, slots=True)
class EventsLost:
    """The stream ended or broke: events may have been missed, list again."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class EventsAbsent:
    """The runtime has no events, or the runtime or the operator has switched them off: rely on
    listings."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class ListingDue:
    """It is time to list again, whatever the events said."""

    at: float


@dataclass(frozen=True, slots=True)
class Listed:
    """A complete listing arrived. `configured_pause` is from the runtime's own status."""

    listing: Listing
    version: RuntimeVersion
    configured_pause: str | None = None


@dataclass(frozen=True, slots=True)
class ListingFailed:
    """A listing failed as a whole: nothing new is known, and nothing may be removed."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class WallClockRead:
    """How many seconds the wall clock is ahead of the clock used for ages and facts, which never
    steps; negative: behind. Not 0 once somebody has set the wall clock since the start."""

    at: float
    ahead: float


@dataclass(frozen=True, slots=True)
class UsageSampled:
    """The image filesystems were measured, or one of them could not be."""

    sample: UsageSample


@dataclass(frozen=True, slots=True)
class PolicyLoaded:
    """A valid policy was read; it is in force from the next decision on. `warnings` are complete
    lines for people."""

    at: float
    policy: Policy
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyRejected:
    """The policy could not be used; the last good one stays in force. `problems` are complete
    lines for people, each with file:line:column where there is one."""

    at: float
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemovalPlanned:
    """An image is to be removed if the last look finds nothing against it. Recorded before that
    look, also on disk, so that a daemon killed during the call knows what it may have begun.
    `names` are those by which the image can be pulled again."""

    at: float
    image_id: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemovalSpared:
    """The last look found a reason against the removal, so it was not sent."""

    at: float
    image_id: str
    why: str


@dataclass(frozen=True, slots=True)
class RemovalBegun:
    """RemoveImage is about to be sent, and nothing is awaited before that."""

    at: float
    removal: Removal


@dataclass(frozen=True, slots=True)
class RemovalFinished:
    """A removal was answered, and a later listing showed the result: neither an OK nor an error
    proves anything (docs/runtimes.md). `error` is the runtime's text, None for OK."""

    at: float
    removal: Removal
    gone: bool
    error: str | None
    took: float  # seconds, the call alone
    gains: tuple[Gain, ...] = ()  # of the filesystems of which it is known
    lost: bool = False  # the runtime went away before it answered, so it refused nothing
    left: tuple[str, ...] | None = None  # names left after it lost others; None: it lost none

    @property
    def outcome(self) -> str:
        """What became of the image, in one word; `untagged`: it lost names and is still listed."""
        if self.gone:
            return "removed"
        return "refused" if self.left is None else "untagged"

    @property
    def trouble(self) -> str:
        """Why the image is still listed, for people."""
        if self.left is None:
            return self.error or "the runtime answered OK, but the image is still listed"
        kept = f"as {self.left[0]}" if self.left else "without a name"
        text = f"the runtime took names from it and left the image, listed {kept}"
        return f"{text}: {self.error}" if self.error else text


@dataclass(frozen=True, slots=True)
class VolumesReported:
    """ContainerStatus reported which images a container mounts."""

    at: float
    container_id: str
    volumes: tuple[Volume, ...]


@dataclass(frozen=True, slots=True)
class PauseReported:
    """PodSandboxStatus reported the names of a sandbox's pause image, possibly none at all; None:
    the sandbox has no pause image."""

    at: float
    sandbox_id: str
    pause: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class AskFailed:
    """The runtime did not report a container's volumes or a sandbox's pause image. `denied`: it
    says that there is no such object, though it is listed: it is gone by now, or the next list
    will show it."""

    at: float
    subject_id: str
    reason: str
    denied: bool = False


@dataclass(frozen=True, slots=True)
class PodsReported:
    """A pod source reported all pods bound to this node; pods that it reported before and not now
    are gone. `source` is its name: socket, kubelet or api; `where` says who answers at which
    address, for people."""

    at: float
    source: str
    pods: tuple[Pod, ...]
    where: str = ""


@dataclass(frozen=True, slots=True)
class PodReported:
    """A pod source reported one pod that is new or has changed."""

    at: float
    source: str
    pod: Pod


@dataclass(frozen=True, slots=True)
class PodGone:
    """A pod source reported that a pod is gone from this node."""

    at: float
    source: str
    uid: str


@dataclass(frozen=True, slots=True)
class PodsLost:
    """No pod source reports pods now, and why; what was reported is kept for a while. Silence of a
    source never means that there are no pods."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class RemoverReported:
    """Whether this daemon is the remover of this runtime's images now (`ours`). `other` names the
    process that is, for people; `trouble` says why that is unknown. Neither: this daemon did not
    ask to be the remover."""

    at: float
    ours: bool = False
    other: str | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Paused:
    """The operator paused this daemon: it removes nothing until it is resumed or restarted."""

    at: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """The operator's pause is over."""

    at: float


@dataclass(frozen=True, slots=True)
class ReclaimAsked:
    """The operator wants space back now: reclaim to the low mark without waiting for the high
    one. Every protection still applies, and so does the mode."""

    at: float


@dataclass(frozen=True, slots=True)
class KubeletReported:
    """The configuration of kubelet's own image removal here, reported at the start and on change.
    `nodefs`: the filesystem of its own directory; None: not visible from here. `troubles` are
    complete lines for people on what could not be read."""

    at: float
    config: KubeletConfig
    nodefs: NodeFilesystem | None = None
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NothingRemovable:
    """Nothing may be removed now, though a filesystem is short: no candidate is left, or there is a
    hold. A different high mark would not change that."""

    at: float


Fact: TypeAlias = (
    ContainerChanged
    | EventsOpened
    | EventsLost
    | EventsAbsent
    | ListingDue
    | Listed
    | ListingFailed
    | WallClockRead
    | UsageSampled
    | PolicyLoaded
    | PolicyRejected
    | RemovalPlanned
    | RemovalSpared
    | RemovalBegun
    | RemovalFinished
    | VolumesReported
    | PauseReported
    | AskFailed
    | PodsReported
    | PodReported
    | PodGone
    | PodsLost
    | RemoverReported
    | Paused
    | Resumed
    | ReclaimAsked
    | KubeletReported
    | NothingRemovable
)
