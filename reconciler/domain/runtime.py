"""What the reconciler asks of a container runtime, and how that can fail.

`reconciler.cri.client.CriClient` is the one implementation; the fake runtime speaks the same
protocol as a server. The type of a failure says what to do next.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from .inventory import ContainerEvent, Listing, Volume


class RuntimeFailure(Exception):
    """Any failure of the runtime that is not a bug of ours; its text is for people."""


class RuntimeUnavailable(RuntimeFailure):
    """It did not answer, or not in time: back off and list again. A write may have happened."""


class RuntimeTooLate(RuntimeUnavailable):
    """The deadline passed: the call may still be in progress."""


class RuntimeRefused(RuntimeFailure):
    """It answered with an error (`code` is gRPC's name for it): this call does not work now."""

    def __init__(self, text: str, code: str = "UNKNOWN") -> None:
        super().__init__(text)
        self.code = code


class EventsUnsupported(RuntimeFailure):
    """It has no container events, or has them switched off: rely on periodic listings."""


class NoSuchObject(RuntimeFailure):
    """The container, sandbox or image asked about is gone (NOT_FOUND): list again."""


@dataclass(frozen=True, slots=True)
class ImageService:
    """The service that lists images at a separate socket. `name` and `version` are empty if it does
    not report them: a service for images alone (a remote snapshotter's) has no Version call."""

    socket: str
    name: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
    """The runtime that answers. `numbers` are the leading numbers of the version: distributions
    append to it, so it is not valid semver (containerd "1.7.24~ds1"). `images`: the service that
    lists the images, if that is another socket."""

    name: str  # "containerd", "cri-o"
    version: str
    numbers: tuple[int, ...]
    images: ImageService | None = None

    @property
    def has_image_volumes(self) -> bool:
        """Whether a container can mount an image at all: containerd from 2.1, CRI-O from 1.31; an
        unknown runtime might. If not, ContainerStatus need not be called."""
        first = {"containerd": (2, 1), "cri-o": (1, 31)}.get(self.name)
        return first is None or not self.numbers or self.numbers >= first

    @property
    def searches_registries(self) -> bool:
        """Whether a name without a host may mean an image of another host than docker.io (CRI-O,
        by its search registries and aliases); an unknown runtime might."""
        return self.name != "containerd"

    @property
    def sizes_are_unpacked(self) -> bool:
        """Whether Image.size counts unpacked layers (CRI-O) or compressed ones (containerd)."""
        return self.name == "cri-o"


class ImageRuntime(Protocol):
    """A container runtime, as far as the reconciler needs one. Every call has its own deadline and
    raises `RuntimeUnavailable` or `RuntimeRefused`; none may be wrapped in a cancel scope."""

    async def version(self) -> RuntimeVersion: ...

    async def list_all(self) -> Listing:
        """Lists images first, then containers and sandboxes. `volumes` and `pause` are None: no
        list contains them; the graph remembers them, since they never change for one id."""
        ...

    async def volumes_of(self, container_id: str) -> tuple[Volume, ...]:
        """Returns the images a container mounts. Raises NoSuchObject."""
        ...

    async def pause_of(self, sandbox_id: str) -> tuple[str, ...] | None:
        """Returns the names a sandbox's status gives for its pause image, possibly none; None: it
        says that the sandbox has no image. Raises NoSuchObject."""
        ...

    async def configured_pause(self) -> str | None:
        """Returns the pause image of the runtime's own configuration, if it is reported
        (containerd 1.x, CRI-O)."""
        ...

    async def image_mountpoints(self) -> tuple[str, ...]:
        """Returns the directories of the image filesystems that ImageFsInfo names."""
        ...

    async def remove_image(self, image_id: str) -> None:
        """Removes by full id, exactly as listed; anything else is a ValueError, never a call.
        An OK proves nothing and neither does an error: list again."""
        ...

    def container_events(self) -> AsyncIterator[ContainerEvent]:
        """Subscribes, and yields events until the stream ends. A clean end returns."""
        ...
