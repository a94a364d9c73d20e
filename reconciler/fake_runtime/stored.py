"""An image in the registry and on the node: its layers, and the names that it has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from .names import digest_name, made_up_name


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: bytes in the registry's form and on disk."""

    diff_id: str
    compressed: int
    unpacked: int


@dataclass(frozen=True, slots=True)
class Published:
    """An image as the registry has it."""

    hex_id: str  # digest of the config: the image's id
    manifest: str  # digest of the manifest: what names have after the @
    layers: tuple[Layer, ...]


@dataclass(slots=True)
class Stored:
    """An image on the node. On CRI-O names by digest follow from its other names, one for each
    repository (cri-o, internal/storage/image.go)."""

    hex_id: str
    manifest: str
    layers: tuple[Layer, ...]
    crio: bool
    names: list[str] = field(default_factory=list)  # by tag and by digest, as given; newest first
    pinned: bool = False
    stuck: set[str] = field(default_factory=set)  # names that RemoveImage leaves
    lost: str = ""  # a name it had, under which CRI-O lists it when it has none

    @property
    def tags(self) -> list[str]:
        return sorted(name for name in self.names if "@" not in name)

    @property
    def digests(self) -> list[str]:
        if self.crio:
            return sorted({digest_name(name, self.manifest) for name in self.names})
        return sorted(name for name in self.names if "@" in name)

    @property
    def made_up(self) -> str:
        """The name by digest that CRI-O lists it under when it has lost its names; it resolves to
        nothing (measured)."""
        return made_up_name(self.lost, self.manifest) if self.crio and not self.names else ""

    @property
    def some_name(self) -> str:
        """The name that CRI-O reports for a container of it: the newest, tags first; perhaps none
        (measured)."""
        return min(self.names, key=lambda name: "@" in name, default="")

    @property
    def compressed(self) -> int:
        return sum(layer.compressed for layer in self.layers)

    @property
    def unpacked(self) -> int:
        return sum(layer.unpacked for layer in self.layers)


def layer(name: str, compressed: int, ratio: float = 2.6) -> Layer:
    """A layer of that many bytes compressed; the same name is the same layer."""
    return Layer(digest_of("layer", name), compressed, int(compressed * ratio))


def digest_of(*parts: str) -> str:
    """64 hex digits that are the same for the same parts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def made_from(name: str, layers: Iterable[Layer]) -> Published:
    layers = tuple(layers)
    made_of = " ".join(layer.diff_id for layer in layers)
    return Published(
        digest_of("config", name, made_of), digest_of("manifest", name, made_of), layers
    )
