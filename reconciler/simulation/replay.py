"""One node, one trace, one order of removal: what had to be pulled again, and how long pods waited.

A pull costs 1.5 s and then 50 MB a second. What is counted is what an infinite disk would have
spared ("avoidable"): the first pull of anything is the same for every order and is left out. An
image in use is never removed, nor is one that is younger than the minimum age.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass

from .orders import Order
from .trace import MB, Trace

FIXED = 1.5  # seconds before the first byte of a pull
SPEED = 50 * MB  # bytes a second
AGE = 120.0  # seconds: what is younger is not removed


@dataclass(slots=True)
class Outcome:
    """What a replay came to; all but the removals from the end of the warm-up on."""

    starts: int = 0
    cold: int = 0  # starts that waited for a pull that an infinite disk would have spared
    again: float = 0.0  # bytes pulled again
    delay: float = 0.0  # seconds that pods waited for them
    removals: int = 0
    emergencies: int = 0  # pulls that did not fit before something was removed
    mean_use: float = 0.0  # of the disk


@dataclass(frozen=True, slots=True)
class Marks:
    """Shares of the disk, between 0 and 1."""

    high: float
    low: float

    def __str__(self) -> str:
        return f"{self.high * 100:g}/{self.low * 100:g}"


class Replay:
    """The node as it goes through a trace."""

    def __init__(self, trace: Trace, disk: float, order: Order, marks: Marks) -> None:
        self._trace, self._disk, self._order = trace, disk, order
        self._high, self._low = marks.high * disk, marks.low * disk
        self._holders = [0] * len(trace.packed)  # images here, by layer
        self._users = [0] * len(trace.images)  # containers, by image
        self._since: dict[int, float] = {}  # images here: first seen, or last used if it counts
        self._idle: set[int] = set()  # images here that nothing uses
        self._had_layers = bytearray(len(trace.packed))
        self._had_images = bytearray(len(trace.images))
        self._used = trace.other
        self._pressed = False
        self._look_at = math.inf  # the next tick with something to do
        self._releases: list[tuple[float, int]] = []
        self._outcome = Outcome()
        self._area, self._area_at = 0.0, 0.0

    def run(self) -> Outcome:
        """From the first start to the end."""
        for start in self._trace.starts:
            self._advance(start.at)
            self._start(start.at, start.image)
            done = start.at + start.lasted + self._trace.lingers
            heapq.heappush(self._releases, (done, start.image))
        self._advance(self._trace.end)
        span = (self._trace.end - self._trace.warm) * self._disk
        self._outcome.mean_use = self._area / span if span > 0 else 0.0
        return self._outcome

    # --- time ----------------------------------------------------------------------------------

    def _advance(self, until: float) -> None:
        """Releases and ticks, in the order in which they come."""
        releases = self._releases
        while True:
            release = releases[0][0] if releases else math.inf
            if min(release, self._look_at) > until:
                return
            if release <= self._look_at:
                self._release(*heapq.heappop(releases))
            else:
                at, self._look_at = self._look_at, math.inf
                self._collect(at)

    def _look(self, after: float) -> None:
        """The disk is looked at again at the first tick from then on."""
        if self._pressed:
            tick = self._order.tick
            self._look_at = min(self._look_at, math.ceil(after / tick) * tick)

    def _weigh(self, at: float, change: float) -> None:
        """Usage changes: the mean is taken over time."""
        begin = max(self._area_at, self._trace.warm)
        if at > begin:
            self._area += self._used * (at - begin)
        self._area_at = at
        self._used += change
        if self._used >= self._high:
            self._pressed = True

    # --- what happens --------------------------------------------------------------------------

    def _start(self, at: float, image: int) -> None:
        outcome = self._outcome
        counted = at >= self._trace.warm
        outcome.starts += counted
        if image not in self._since:
            again = self._pull(at, image)
            cold = bool(self._had_images[image])
            if counted:
                outcome.cold += cold
                outcome.again += again
                outcome.delay += cold * FIXED + again / SPEED
            self._had_images[image] = 1
        opens = self._users[image] == 0
        self._users[image] += 1
        self._idle.discard(image)
        self._order.started(image, at, opens=opens)

    def _release(self, at: float, image: int) -> None:
        self._users[image] -= 1
        if self._users[image]:
            return
        self._idle.add(image)
        if self._order.waits:
            self._since[image] = at
        self._order.released(image, at)
        self._look(max(at, self._since[image] + AGE))

    def _pull(self, at: float, image: int) -> float:
        """Brings an image here; gives the bytes of it that had been here before."""
        trace, holders = self._trace, self._holders
        layers = trace.layers[image]
        if self._used + self._missing(layers) > self._disk:
            self._outcome.emergencies += at >= trace.warm
            self._collect(at)
            victims = self._order.victims(self._candidates(at), at)
            while self._used + self._missing(layers) > self._disk:
                victim = next(victims, None)
                if victim is None:
                    break  # all that is left is in use; a real pull would fail
                self._remove(at, victim)
        again = need = 0.0
        for layer in layers:
            if not holders[layer]:
                need += trace.on_disk(layer)
                again += trace.packed[layer] if self._had_layers[layer] else 0.0
                self._had_layers[layer] = 1
            holders[layer] += 1
        self._since[image] = at
        self._order.pulled(image, at)
        self._weigh(at, need)
        self._look(at)
        return again

    def _missing(self, layers: Iterable[int]) -> float:
        return sum(self._trace.on_disk(layer) for layer in layers if not self._holders[layer])

    # --- removal -------------------------------------------------------------------------------

    def _candidates(self, at: float) -> set[int]:
        return {image for image in self._idle if at - self._since[image] >= AGE}

    def _collect(self, at: float) -> None:
        """Removes until usage is at the low mark, by the order's own way to tell."""
        if not self._pressed:
            return
        listed, wanted = 0.0, self._used - self._low
        for victim in self._order.victims(self._candidates(at), at):
            if (self._used <= self._low) if self._order.measures else listed >= wanted:
                break
            listed += self._trace.images[victim].size
            self._remove(at, victim)
        # kubelet looks at its high mark alone each time; ours goes on until the low one.
        measures = self._order.measures
        self._pressed = self._used > self._low if measures else self._used >= self._high
        young = [since for since in map(self._since.__getitem__, self._idle) if at - since < AGE]
        if young:
            self._look(min(young) + AGE)

    def _remove(self, at: float, image: int) -> None:
        freed = 0.0
        for layer in self._trace.layers[image]:
            self._holders[layer] -= 1
            if not self._holders[layer]:
                freed += self._trace.on_disk(layer)
        del self._since[image]
        self._idle.discard(image)
        self._order.removed(image, at)
        self._weigh(at, -freed)
        self._outcome.removals += at >= self._trace.warm
