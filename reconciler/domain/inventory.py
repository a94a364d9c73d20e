"""What a runtime has, as plain values: images, containers, sandboxes, events, one listing of all.

`reconciler.cri.translate` makes them from CRI messages, and nothing else does. Ids are
kept as the runtime lists them, because only that form may be sent back (CRI-O does not understand
`sha256:<hex>`, our measurement in docs/runtimes.md); `image_key` is the form to compare by.
"""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass, field

LARGEST_DISK = 1 << 60  # bytes; no disk has more, nor has an image, and 8 times that fit in 64 bits
_FULL_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


def image_key(image_id: str) -> str:
    """The form of an image id to compare by: without `sha256:`, which CRI-O leaves out."""
    return image_id.removeprefix("sha256:")


@functools.lru_cache(maxsize=16384)
def is_full_id(text: str) -> bool:
    """Whether a text is a whole image id, in either runtime's form."""
    return _FULL_ID.fullmatch(text) is not None


@functools.lru_cache(maxsize=16384)
def keys_of_id(text: str) -> frozenset[str] | None:
    """Returns the key of a full id as a set; None: not a full id. Cached, since every container
    needs it several times."""
    return frozenset((image_key(text),)) if is_full_id(text) else None


@dataclass(frozen=True, slots=True)
class Image:
    """One image as listed; `size` is what the runtime says, in bytes (docs/runtimes.md: containerd
    counts compressed layers, CRI-O unpacked ones, both count shared layers in every image)."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()  # "repository@sha256:..."
    size: int = 0
    pinned: bool = False
    # Read many times in every decision, so computed once.
    key: str = field(init=False, repr=False, compare=False)
    names: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """`names` is every name the image is listed under: tags first, then digest names."""
        object.__setattr__(self, "key", image_key(self.id))
        object.__setattr__(self, "names", self.tags + self.digests)


class ContainerState(enum.IntEnum):
    """The life of a container; the numbers are CRI's (`runtime.v1.ContainerState`)."""

    CREATED = 0
    RUNNING = 1
    EXITED = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Volume:
    """An image mounted by a container (CRI `Mount.image`): the text the runtime gives for it, and
    the manifest digest containerd puts at the end of the host path ("sha256:..."; else empty)."""

    image: str
    manifest_digest: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """One container in any state, as ListContainers, ContainerStatus or an event reports it."""

    id: str
    sandbox_id: str
    name: str  # the container's name in its pod; for people
    image: str  # image.image: what the creator asked for, or some name the image has now
    image_ref: str  # an id or repository@digest, by runtime and call (docs/runtimes.md)
    image_id: str  # empty before containerd 2.3 and CRI-O 1.30
    state: ContainerState
    created_at: float
    volumes: tuple[Volume, ...] | None = None  # None: not asked yet (no list contains them)

    def adds_nothing_to(self, known: Container) -> bool:
        """Whether it says nothing new about the container `known`: all else never changes."""
        return (
            known.state == self.state
            and known.image == self.image
            and known.image_id == self.image_id
            and known.image_ref == self.image_ref
            and (self.volumes is None or self.volumes == known.volumes)
        )


@dataclass(frozen=True, slots=True)
class Template:
    """What similar pods are made from, by a sandbox's labels or its pod's name. Pods of one
    `exact` template ask for the same images; those of any other very likely do."""

    name: str  # "namespace/label=value", or "namespace/prefix-*"
    exact: bool


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One pod sandbox; `pause` are the names its own status gives for its pause image, possibly
    none; `pauseless`: that status says that it runs on no image at all."""

    id: str
    name: str  # namespace/pod; for people
    created_at: float
    pause: tuple[str, ...] | None = None  # None: not asked yet
    uid: str = ""  # its pod's; empty: not reported
    ready: bool = True  # kubelet stops the sandbox of a pod that is complete
    template: Template | None = None
    pauseless: bool = False


@dataclass(frozen=True, slots=True)
class Stranger:
    """A container that CRI does not list: `nerdctl` or `ctr` made it, not Kubernetes."""

    id: str
    image: str  # the name it was made from


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything the runtime had, listed between `began_at` and `ended_at`.

    Images were listed before containers and sandboxes, so that a container created in between is
    seen as a user of an image that is not a candidate yet.
    """

    began_at: float
    ended_at: float
    images: tuple[Image, ...]
    containers: tuple[Container, ...]
    sandboxes: tuple[Sandbox, ...]
    strangers: tuple[Stranger, ...] = ()


class EventKind(enum.IntEnum):
    """What happened; the numbers are CRI's (`runtime.v1.ContainerEventType`)."""

    CREATED = 0
    STARTED = 1
    STOPPED = 2
    DELETED = 3


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """One CRI container event. `subject_id` is a container's or a sandbox's id; `containers` are
    all containers of the pod at that instant, which some runtimes leave empty."""

    subject_id: str
    kind: EventKind
    created_at: float
    sandbox: Sandbox | None = None
    containers: tuple[Container, ...] = ()

    @property
    def about_sandbox(self) -> bool:
        """Whether the subject is the sandbox itself: nothing else in the message says so."""
        return self.sandbox is not None and self.sandbox.id == self.subject_id


@dataclass(frozen=True, slots=True)
class FilesystemUsage:
    """One image filesystem, measured by statvfs at a directory that ImageFsInfo names.

    Used means (f_blocks - f_bavail) * f_frsize, so that what only root may use counts as used, as
    kubelet counts it (cadvisor, fs/fs.go). `df` leaves that `reserved` part out of the whole, so
    that it shows less. `total_inodes` is 0 where the filesystem has no fixed number of them.
    """

    mountpoint: str
    device: int  # st_dev: two directories on one filesystem count once
    capacity: int  # bytes
    used: int  # bytes
    total_inodes: int = 0
    used_inodes: int = 0
    reserved: int = 0  # bytes, counted as used
    kind: str = ""  # ext4, xfs, ...; empty: unknown

    @property
    def taken(self) -> int:
        """Bytes that hold data. Space freed on a full disk goes to root's reserve first, which
        `used` does not show."""
        return self.used - self.reserved

    @property
    def df_percent(self) -> float:
        """The usage that `df` shows."""
        whole = self.capacity - self.reserved
        return 100 * self.taken / whole if whole > 0 else 0.0


@dataclass(frozen=True, slots=True)
class InvisibleFilesystem:
    """An image filesystem that the runtime names and this process cannot measure, and why."""

    mountpoint: str
    error: str


@dataclass(frozen=True, slots=True)
class UsageSample:
    """All image filesystems, measured at one moment."""

    at: float
    filesystems: tuple[FilesystemUsage, ...] = ()
    invisible: tuple[InvisibleFilesystem, ...] = field(default=())
