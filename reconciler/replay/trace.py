"""A node's past, as a replay takes it: images with their layers, and what started when."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..domain.inventory import Image

HOUR, DAY = 3600.0, 86400.0
MB = 1e6  # bytes


@dataclass(frozen=True, slots=True)
class Start:
    """A container: when it was started, for how many seconds it ran, and its image."""

    at: float
    lasted: float
    image: int


@dataclass(slots=True)
class Trace:
    """Layers and images are known by their number. Sizes are bytes, times seconds."""

    name: str
    packed: list[float]  # of each layer, as pulled
    unpacked: list[float]  # of each layer, on disk
    layers: list[tuple[int, ...]]  # of each image
    images: list[Image]  # as the runtime lists them
    starts: list[Start]  # by time
    warm: float  # until then nothing is counted
    end: float
    lingers: float = 300.0  # seconds that a container refers to its image after it ended
    crio: bool = False  # layers are kept unpacked only, and listed so
    other: float = 0.0  # bytes on the disk that belong to no image
    _disk: list[float] = field(default_factory=list)

    @property
    def counted(self) -> float:
        """Seconds from the end of the warm-up to the last start."""
        return max(0.0, self.starts[-1].at - self.warm) if self.starts else 0.0

    def on_disk(self, layer: int) -> float:
        """Bytes that a layer takes: containerd keeps what it pulled next to what it unpacked."""
        if not self._disk:
            both = zip(self.packed, self.unpacked, strict=True)
            self._disk = [u if self.crio else p + u for p, u in both]
        return self._disk[layer]
