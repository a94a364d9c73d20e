"""What was observed, in the past tense, as frozen values. Sources put facts into the mailbox; the
one loop absorbs them into its state. A fact never says what to do about it."""

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
    says only that the call is under way: list now, and once more soon."""

    at: float


@dataclass(frozen=True, slots=True)
class EventsLost:
    """The stream ended or broke: events may have been missed, list again."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class EventsAbsent:
    """The runtime has no events, has them switched off, or the operator has: live on listings."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class ListingDue:
    """Time to list again, whatever the events said."""

    at: float


@dataclass(frozen=True, slots=True)
class Listed:
    """A complete listing came in. `configured_pause` is from the runtime's own status."""

    listing: Listing
    version: RuntimeVersion
    configured_pause: str | None = None


@dataclass(frozen=True, slots=True)
class ListingFailed:
    """A listing failed as a whole: nothing is known anew, nothing may be removed."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class WallClockRead:
    """By how many seconds the wall clock is ahead of the clock that ages and facts count by, which
    never steps; less than 0: behind. Not 0 once somebody has set it since the start."""

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
    """An image is to be removed, if the last look finds nothing against it. Remembered before that,
    on disk too, so that a daemon killed during the call knows what it may have begun. `names` are
    those that bring the image back."""

    at: float
    image_id: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemovalSpared:
    """The last look found a reason against it: it was not sent."""

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
    """A removal was answered and a later listing told the truth: neither an OK nor an error
    proves anything (docs/runtimes.md). `error` is the runtime's text, None for OK."""

    at: float
    removal: Removal
    gone: bool
    error: str | None
    took: float  # seconds, the call alone
    gains: tuple[Gain, ...] = ()  # of each filesystem; empty: not measured
    lost: bool = False  # the runtime went away before it answered: it refused nothing
    left: tuple[str, ...] | None = None  # names it kept where it lost others; None: it lost none

    @property
    def outcome(self) -> str:
        """What became of the image, in a word: `untagged`, where names went and it stayed."""
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
    """ContainerStatus told which images a container mounts."""

    at: float
    container_id: str
    volumes: tuple[Volume, ...]


@dataclass(frozen=True, slots=True)
class PauseReported:
    """PodSandboxStatus told the names of a sandbox's pause image, maybe none; None: it has none."""

    at: float
    sandbox_id: str
    pause: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class AskFailed:
    """The runtime would not tell a container's volumes or a sandbox's pause image. `denied`: it
    says that there is no such thing, though it is listed: gone by now, or a list will show it."""

    at: float
    subject_id: str
    reason: str
    denied: bool = False


@dataclass(frozen=True, slots=True)
class PodsReported:
    """A source of pods told of all pods bound to this node; those it told of before and does not
    now are gone. `source` is its name: socket, kubelet or api; `where` who answers at which
    address, for people."""

    at: float
    source: str
    pods: tuple[Pod, ...]
    where: str = ""


@dataclass(frozen=True, slots=True)
class PodReported:
    """A source of pods told of one pod that is new, or has changed."""

    at: float
    source: str
    pod: Pod


@dataclass(frozen=True, slots=True)
class PodGone:
    """A source of pods told that one is gone from this node."""

    at: float
    source: str
    uid: str


@dataclass(frozen=True, slots=True)
class PodsLost:
    """No source of pods tells of pods now, and why; what was told is kept for a while. Its silence
    never means that there are no pods."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class RemoverReported:
    """Whether this daemon is the one that may remove images of this runtime now (`ours`). `other`
    is who is, for people; `trouble`, why nobody can tell. Neither: it was not asked to be."""

    at: float
    ours: bool = False
    other: str | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Paused:
    """The operator told this daemon to remove nothing until told otherwise, or restarted."""

    at: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """The operator's pause is over."""

    at: float


@dataclass(frozen=True, slots=True)
class ReclaimAsked:
    """The operator wants space back now: reclaim to the low mark without waiting for the high
    one. No protection gives way, and the mode still governs."""

    at: float


@dataclass(frozen=True, slots=True)
class KubeletReported:
    """What governs kubelet's own removal of images here, told at the start and when it changed.
    `nodefs`: where its own directory lies; None: not to be seen. `troubles` are complete lines for
    people on what could not be read."""

    at: float
    config: KubeletConfig
    nodefs: NodeFilesystem | None = None
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NothingGoes:
    """Nothing may be removed now, though a filesystem is short: no image is left that may go, or
    something holds all removal. Where the mark stands makes no difference to that."""

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
    | NothingGoes
)
