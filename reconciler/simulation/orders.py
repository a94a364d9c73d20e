"""Orders of removal that can be replayed. `Keepscore` is the daemon's; the others are what it is
compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from ..domain.inventory import Container, ContainerState
from ..domain.keepscore import Appraiser, removal_order
from ..domain.memory import SWEPT_EVERY, Memory
from .trace import Trace

SAMPLED = 300.0  # seconds between kubelet's looks at what is used


class Order(Protocol):
    """Told what happens to images (by number), asked who goes."""

    tick: float  # seconds between looks at the disk
    measures: bool  # measures after every removal; else adds up listed sizes, as kubelet does
    waits: bool  # leaves alone what was used within the minimum age

    def pulled(self, image: int, at: float) -> None: ...
    def started(self, image: int, at: float, *, opens: bool) -> None: ...
    def released(self, image: int, at: float) -> None: ...
    def removed(self, image: int, at: float) -> None: ...

    def victims(self, candidates: set[int], at: float) -> Iterator[int]:
        """Those to remove, in order; each is removed before the next is asked for."""
        ...


class Lru:
    """Least recently used first, measured after every removal: what docuum does."""

    tick, measures, waits = 60.0, True, True

    def __init__(self, trace: Trace) -> None:
        self._used = [0.0] * len(trace.images)
        self._seen = [0.0] * len(trace.images)

    def pulled(self, image: int, at: float) -> None:
        self._seen[image] = self._used[image] = at

    def started(self, image: int, at: float, *, opens: bool) -> None:
        self._used[image] = at

    def released(self, image: int, at: float) -> None:
        self._used[image] = at

    def removed(self, image: int, at: float) -> None:
        pass

    def victims(self, candidates: set[int], at: float) -> Iterator[int]:
        used, seen = self._used, self._seen
        return iter(sorted(candidates, key=lambda image: (used[image], seen[image], image)))


class Kubelet(Lru):
    """kubelet's image garbage collection: what was used is sampled every five minutes, and the
    listed sizes are added up instead of looking at the disk again
    (kubernetes pkg/kubelet/images/image_gc_manager.go)."""

    tick, measures, waits = 300.0, False, False

    def victims(self, candidates: set[int], at: float) -> Iterator[int]:
        def key(image: int) -> tuple[float, float, int]:
            used = self._used[image] // SAMPLED * SAMPLED
            return used, -(-self._seen[image] // SAMPLED) * SAMPLED, image

        return iter(sorted(candidates, key=key))


class Keepscore:
    """The daemon's own order: its memory, its appraiser, its `removal_order`."""

    tick, measures, waits = 60.0, True, True

    def __init__(self, trace: Trace) -> None:
        self._trace, self._memory = trace, Memory()
        self._keys = [image.key for image in trace.images]
        self._count, self._swept_at = 0, 0.0

    def pulled(self, image: int, at: float) -> None:
        if at - self._swept_at >= SWEPT_EVERY:
            self._memory.sweep(at)
            self._swept_at = at
        self._memory.arrive(self._trace.images[image], at)

    def started(self, image: int, at: float, *, opens: bool) -> None:
        self._count += 1
        key, state = self._keys[image], ContainerState.RUNNING
        one = Container(str(self._count), "", "", "", "", "", state, at, ())
        keys = frozenset((key,))
        self._memory.count(one, keys, 0.0, keys if opens else frozenset())
        self._memory.end(one.id, at)
        self._memory.log.clear()

    def released(self, image: int, at: float) -> None:
        self._memory.touch(self._keys[image], at)

    def removed(self, image: int, at: float) -> None:
        self._memory.leave(self._keys[image], at)

    def victims(self, candidates: set[int], at: float) -> Iterator[int]:
        """The lowest score first."""
        memory, images = self._memory, self._trace.images
        appraiser = Appraiser(memory.arrivals, at, unpacked=self._trace.crio)

        def place(image: int) -> tuple[float, float, str]:
            one, record = images[image], memory.images[self._keys[image]]
            return removal_order(appraiser.score(one, record), one, record)

        return iter(sorted(candidates, key=place))


ORDERS: dict[str, Callable[[Trace], Order]] = {
    "keepscore": Keepscore,
    "lru": Lru,
    "kubelet": Kubelet,
}
