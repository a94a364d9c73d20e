"""Made-up images: applications that share bases, runtimes and dependencies, and whose
versions follow each other.

Sizes are in megabytes here, like the figures they were fitted to.
"""

from __future__ import annotations

import bisect
import math
import random
from dataclasses import dataclass, field

from ..domain.inventory import Image
from .trace import DAY, MB

REBUILT = 30 * DAY  # how often a base image and what is built on it is rebuilt
REGISTRY = "registry.example.com"


def lognormal(draw: random.Random, median: float, sigma: float) -> float:
    return median * math.exp(draw.gauss(0, sigma))


class Zipf:
    """Picks 0 .. count-1, the first most often: each weighs 1 / rank to the power `slope`."""

    def __init__(self, draw: random.Random, count: int, slope: float) -> None:
        self._draw, self._sums, total = draw, [], 0.0
        for rank in range(count):
            total += 1 / (rank + 1) ** slope
            self._sums.append(total)
        self.total = total

    def __call__(self) -> int:
        return bisect.bisect_left(self._sums, self._draw.random() * self.total)


@dataclass(slots=True)
class App:
    """One application that is deployed version after version."""

    number: int
    repository: str
    runtime: int
    dependencies: float  # MB
    own: float  # MB of its own layer
    counts_streams: bool  # its versions are x.y.z; else one stream forever
    below: tuple[int, ...] = ()  # layers it is built on, instead of a base and a runtime
    stream: int = 0
    versions: int = 0
    layer: int | None = None  # the present dependencies


@dataclass(slots=True)
class Catalogue:
    """All layers and images of one workload, in the order in which they are made."""

    draw: random.Random
    bases: int = 12
    runtimes: int = 30
    packed: list[float] = field(default_factory=list)  # bytes
    unpacked: list[float] = field(default_factory=list)
    layers: list[tuple[int, ...]] = field(default_factory=list)  # of each image
    owners: list[App] = field(default_factory=list)  # of each image
    names: list[str] = field(default_factory=list)  # of each image
    _apps: int = 0
    _built: dict[tuple[str, int, int], int] = field(default_factory=dict)
    _base_of: list[tuple[int, float]] = field(default_factory=list)
    _phases: list[float] = field(default_factory=list)
    _sizes: list[float] = field(default_factory=list)
    _pick: Zipf = field(init=False)

    def __post_init__(self) -> None:
        draw = self.draw
        base = Zipf(draw, self.bases, 1.0)
        self._pick = Zipf(draw, self.runtimes, 0.8)
        self._phases = [draw.random() * REBUILT for _ in range(self.bases)]
        self._base_of = [(base(), lognormal(draw, 80, 0.9)) for _ in range(self.runtimes)]
        self._sizes = [lognormal(draw, 45, 0.7) for _ in range(self.bases)]

    def layer(self, size: float, ratio: float | None = None) -> int:
        """Makes a layer of `size` MB, `ratio` times that unpacked; returns its number."""
        self.packed.append(max(0.01, size) * MB)
        unpacked = size * (ratio or lognormal(self.draw, 2.6, 0.25))
        self.unpacked.append(max(0.03, unpacked) * MB)
        return len(self.packed) - 1

    def app(
        self,
        dependencies: tuple[float, float] = (60, 1.2),
        own: tuple[float, float] = (12, 1.2),
        runtime: int | None = None,
        below: tuple[int, ...] = (),
    ) -> App:
        """A new application; medians and spreads in MB. A quarter are tags of one of four
        repositories that others share."""
        draw, number = self.draw, self._apps
        self._apps += 1
        shared = 1 + draw.randrange(4) if draw.random() < 0.25 else 0
        name = f"shared-{shared}" if shared else f"app-{number}"
        if runtime is None:
            runtime = 0 if below else self._pick()
        sizes = lognormal(draw, *dependencies), lognormal(draw, *own)
        counts = draw.random() < 0.35
        return App(number, f"{REGISTRY}/{name}", runtime, *sizes, counts, below)

    def version(self, app: App, at: float, renewed: float = 0.3, name: str = "") -> int:
        """Makes a new version of an application, its dependencies new with chance `renewed`;
        returns the image's number."""
        below = app.below or self._foundation(app.runtime, at)
        ratio = 2.2 if app.below else None
        if app.layer is None or self.draw.random() < renewed:
            app.layer = self.layer(app.dependencies * lognormal(self.draw, 1, 0.1), ratio)
        own = self.layer(app.own * lognormal(self.draw, 1, 0.2))
        if app.counts_streams and self.draw.random() < 0.3:
            app.stream += 1
        app.versions += 1
        self.layers.append((*below, app.layer, own))
        self.owners.append(app)
        self.names.append(name or f"{app.repository}:{_tag(app)}")
        return len(self.layers) - 1

    def _foundation(self, runtime: int, at: float) -> tuple[int, int]:
        """The base and the runtime's layer of that time."""
        base, size = self._base_of[runtime]
        generation = int((at + self._phases[base]) // REBUILT)
        made = []
        for key, median in (
            (("base", base, generation), self._sizes[base]),
            (("runtime", runtime, generation), size),
        ):
            if key not in self._built:
                self._built[key] = self.layer(median * lognormal(self.draw, 1, 0.02))
            made.append(self._built[key])
        return made[0], made[1]

    def images(self, *, crio: bool = False) -> list[Image]:
        """All images as the runtime lists them."""
        sizes = self.unpacked if crio else self.packed
        return [
            Image(
                f"sha256:{number:064x}",
                (name,),
                (f"{name.rpartition(':')[0]}@sha256:{number:064x}",),
                int(sum(sizes[layer] for layer in layers)),
            )
            for number, (name, layers) in enumerate(zip(self.names, self.layers, strict=True))
        ]


def _tag(app: App) -> str:
    """A tag that shows that the versions of one stream of one application belong together."""
    return f"{_letters(app.number)}-{_letters(app.stream)}-0.0.{app.versions}"


def _letters(number: int) -> str:
    """A number in letters only: digits would be taken for what changes between versions."""
    letters = ""
    while True:
        number, digit = divmod(number, 26)
        letters = chr(ord("a") + digit) + letters
        if not number:
            return letters
