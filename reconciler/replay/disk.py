"""The disk of the simulated node: which images it holds, which are being pulled, how full it is.

Between two events usage is a straight line: every pull under way writes at its own steady speed. A
layer that is here, or being pulled, is not pulled again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from .trace import MB, Trace

FIXED = 1.5  # seconds before the first byte of a pull
SPEED = 50 * MB  # bytes a second, packed, of each pull
AGE = 120.0  # seconds: the minimum age, by first sight and last use


@dataclass(eq=False, slots=True)
class Pull:
    """An image being pulled, and the starts that wait for it."""

    image: int
    at: float
    ends: float  # when its own layers are here
    ready: float  # when the image is here: other pulls may bring some of its layers
    ideal_ready: float  # when it would have been ready with an infinite disk
    pulled_again: float  # bytes of it that were here before
    bytes: float  # that it writes
    layers: tuple[int, ...]  # that it brings
    starts: list[tuple[float, float]] = field(default_factory=list)  # at, lasts
    failures: int = 0
    failed: bool = False

    @property
    def speed(self) -> float:
        """Bytes a second on disk: what it writes is spread over its time after the fixed part."""
        span = self.ends - self.at - FIXED
        return self.bytes / span if span > 0 else 0.0

    def written(self, at: float) -> float:
        return min(self.bytes, max(0.0, at - self.at - FIXED) * self.speed)


class Disk:
    """Sizes in bytes. `images` are those that are here, with the time of their last use or of the
    pull; `idle` are those of them that nothing uses."""

    def __init__(self, trace: Trace, capacity: float) -> None:
        self.trace, self.capacity = trace, int(capacity)
        self.used, self.speed, self.at = min(trace.other, capacity), 0.0, 0.0
        self.images: dict[int, float] = {}
        self.idle: set[int] = set()
        self.pulls: dict[int, Pull] = {}  # by image
        self.area = 0.0  # byte seconds since the end of the warm-up
        self.above: dict[float, float] = {}  # seconds above each of these lines since then
        self.sizes = [trace.on_disk(layer) for layer in range(len(trace.packed))]
        self.users = [0] * len(trace.images)  # containers, by image
        self._holders = [0] * len(trace.packed)  # images here or being pulled, by layer
        self._coming: dict[int, Pull] = {}  # by layer
        self._had_layers = bytearray(len(trace.packed))
        self.had_images = bytearray(len(trace.images))

    @property
    def full_at(self) -> float:
        """When the disk will be full at the present speed."""
        room = self.capacity - self.used
        return self.at + room / self.speed if self.speed > 0 else math.inf

    def move(self, at: float) -> None:
        """Moves time on, while pulls write."""
        span = at - self.at
        if span <= 0:
            return
        written = self.speed * span
        counted = min(span, at - self.trace.warm)
        if counted > 0:
            self.area += (self.used + written - self.speed * counted / 2) * counted
            for line in self.above:
                over = self.used + written - line
                if over > 0:
                    self.above[line] += min(counted, over / self.speed if written else counted)
        self.used += written
        self.at = at

    # --- pulls ---------------------------------------------------------------------------------

    def begin(self, image: int, at: float) -> Pull:
        """Begins a pull of what is missing of an image."""
        trace, holders = self.trace, self._holders
        missing, others = [], set()
        for layer in trace.layers[image]:
            if layer in self._coming:
                others.add(self._coming[layer])
            elif not holders[layer]:
                missing.append(layer)
            holders[layer] += 1
        packed = sum(trace.packed[layer] for layer in missing)
        pulled_again = sum(trace.packed[layer] for layer in missing if self._had_layers[layer])
        ends = at + FIXED + packed / SPEED
        ideal_ready = (
            at + (0.0 if self.had_images[image] else FIXED) + (packed - pulled_again) / SPEED
        )
        pull = Pull(
            image,
            at,
            ends,
            max([ends, *(other.ends for other in others)]),
            max([ideal_ready, *(other.ideal_ready for other in others)]),
            pulled_again,
            sum(self.sizes[layer] for layer in missing),
            tuple(missing),
        )
        self.pulls[image] = pull
        self._coming.update(dict.fromkeys(missing, pull))
        return pull

    def write(self, pull: Pull) -> None:
        """Its first byte comes."""
        self.speed += pull.speed

    def written(self, pull: Pull) -> None:
        """Its last byte came."""
        self.speed -= pull.speed
        if self.speed < 1.0:  # less than a byte a second is rounding
            self.speed = 0.0
        for layer in pull.layers:
            self._had_layers[layer] = 1
            del self._coming[layer]

    def arrive(self, pull: Pull) -> None:
        """All layers of its image are here."""
        del self.pulls[pull.image]
        self.images[pull.image] = pull.ready
        self.had_images[pull.image] = 1

    def fail(self, at: float) -> list[Pull]:
        """Fails all pulls at once: what they wrote is gone, and what only they held."""
        failed, unfinished = list(self.pulls.values()), set(self._coming)
        for pull in failed:
            if at < pull.ends:
                self.used -= pull.written(at)
        self.pulls.clear()
        self._coming.clear()
        self.speed = 0.0
        for pull in failed:
            pull.failed = True
            for layer in self.trace.layers[pull.image]:
                self._let_go(layer, written=layer not in unfinished)
        return failed

    def _let_go(self, layer: int, *, written: bool = True) -> None:
        self._holders[layer] -= 1
        if not self._holders[layer] and written:
            self.used -= self.sizes[layer]

    # --- use and removal -----------------------------------------------------------------------

    def use(self, image: int) -> bool:
        """A container of it starts; returns whether it is the only one."""
        self.users[image] += 1
        self.idle.discard(image)
        return self.users[image] == 1

    def release(self, image: int, at: float) -> bool:
        """A container of it is gone; returns whether it was the last."""
        self.users[image] -= 1
        if self.users[image]:
            return False
        self.idle.add(image)
        self.images[image] = at
        return True

    def remove(self, image: int) -> None:
        """Removes an image; what only this image holds is free at once."""
        for layer in self.trace.layers[image]:
            self._let_go(layer)
        del self.images[image]
        self.idle.discard(image)

    def may_go(self, image: int, at: float) -> bool:
        return image in self.idle and at - self.images[image] >= AGE

    def candidates(self, at: float) -> list[int]:
        images, latest = self.images, at - AGE
        return [image for image in self.idle if images[image] <= latest]

    def held_by(self, images: Iterable[int]) -> float:
        """Bytes that are freed when all these are removed."""
        layers = self.trace.layers
        held = Counter(layer for image in images for layer in layers[image])
        return sum(self.sizes[one] for one, count in held.items() if count == self._holders[one])

    @property
    def in_use(self) -> float:
        """Bytes of others, and of images that containers use."""
        used = {image for image in self.images if image not in self.idle}
        layers = {layer for image in used for layer in self.trace.layers[image]}
        return self.trace.other + sum(self.sizes[layer] for layer in layers)
