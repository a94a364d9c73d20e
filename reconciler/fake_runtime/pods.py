"""What runs on a simulated node: sandboxes, containers, and the images that they mount."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..domain.inventory import ContainerState
from .stored import Stored


@dataclass(slots=True)
class Sandbox:
    id: str
    name: str
    namespace: str
    uid: str
    labels: dict[str, str]
    created_at: float
    pause_name: str
    pause: Stored
    attempt: int = 0
    ready: bool = True
    # Mounted by containers, some of them gone by now.
    leased: list[Stored] = field(default_factory=list)


@dataclass(slots=True)
class Mounted:
    """An image volume: the text it was requested by, and the image and manifest it meant then."""

    path: str
    text: str
    image: Stored
    manifest: str


@dataclass(slots=True)
class Container:
    id: str
    sandbox_id: str
    name: str
    asked: str  # the image as the creator named it
    image: Stored
    made_from: str  # a digest name of the image at creation, if any; CRI-O remembers it
    named: str  # a name the image had at creation, if any; CRI-O remembers it
    labels: dict[str, str]
    created_at: float
    volumes: list[Mounted]
    state: ContainerState = ContainerState.CREATED
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    writable: int = 0  # bytes
