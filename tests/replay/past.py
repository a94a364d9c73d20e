"""Pasts of a handful of containers, by name and size."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.domain.inventory import Image
from reconciler.replay.disk import FIXED, SPEED
from reconciler.replay.trace import DAY, MB, Start, Trace


def past(
    *starts: tuple[float, str],
    sizes: Mapping[str, float],
    lasts: float = 300,
    lingers: float = 300,
    other: float = 0,
    layers: Mapping[str, tuple[str, ...]] | None = None,
) -> Trace:
    """Containers from images of one layer each, sizes in MB, nothing unpacked. With `layers` the
    sizes are those of layers."""
    held = layers or {name: (name,) for name in sizes}
    names, parts = list(held), list(sizes)
    images = [
        Image(
            f"sha256:{number:064x}",
            (f"r.io/{name}:v1",),
            (),
            int(sum(sizes[layer] for layer in held[name]) * MB),
        )
        for number, name in enumerate(names)
    ]
    return Trace(
        "story",
        [size * MB for size in sizes.values()],
        [0.0] * len(sizes),
        [tuple(map(parts.index, held[name])) for name in names],
        images,
        [Start(at, lasts, names.index(name)) for at, name in starts],
        warm=0,
        end=DAY,
        lingers=lingers,
        other=other * MB,
    )


def pull_of(megabytes: float) -> float:
    """Seconds."""
    return FIXED + megabytes * MB / SPEED
