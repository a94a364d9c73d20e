"""Orders of removal that can be replayed. `Keepscore` is the daemon's; `Lru` is what it is compared
with, apart from kubelet (kubelet.py)."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Protocol

from ..domain.inventory import Container, ContainerState
from ..domain.memory import SWEPT_EVERY, Memory
from ..domain.ranking.keepscore import Appraiser, removal_order
from ..domain.ranking.tag_series import tag_series
from .trace import HOUR, Trace

MayGo = Callable[[int], bool]


class Order(Protocol):
    """Is notified of what happens to images (by number), and picks which is removed."""

    def pulled(self, image: int, at: float) -> None: ...
    def started(self, image: int, at: float, *, opens: bool) -> None: ...
    def released(self, image: int, at: float) -> None: ...
    def removed(self, image: int, at: float) -> None: ...

    def first(self, may_go: MayGo, at: float) -> int | None:
        """Returns which unused image to remove first, of those that may be."""
        ...


class Queue:
    """Unused images in the order of a number, lowest first."""

    def __init__(self, images: int) -> None:
        self._heap: list[tuple[float, int, int]] = []  # number, image, the image's turn
        self._turns = [0] * images

    def put(self, image: int, place: float) -> None:
        """Puts an image in its place, also if it was in the queue before."""
        self._turns[image] += 1
        heapq.heappush(self._heap, (place, image, self._turns[image]))

    def drop(self, image: int) -> None:
        self._turns[image] += 1

    def taken(self) -> Iterator[tuple[float, int]]:
        """Takes out one after the other."""
        while self._heap:
            place, image, turn = heapq.heappop(self._heap)
            if turn == self._turns[image]:
                yield place, image


class Lru:
    """Least recently used first: what docuum does."""

    def __init__(self, trace: Trace) -> None:
        self._queue = Queue(len(trace.images))

    def pulled(self, image: int, at: float) -> None:
        pass

    def started(self, image: int, at: float, *, opens: bool) -> None:
        self._queue.drop(image)

    def released(self, image: int, at: float) -> None:
        self._queue.put(image, at)

    def removed(self, image: int, at: float) -> None:
        self._queue.drop(image)

    def first(self, may_go: MayGo, at: float) -> int | None:
        found, passed = None, []
        for used, image in self._queue.taken():
            passed.append((image, used))
            if may_go(image):
                found = image
                break
        for image, used in passed:
            self._queue.put(image, used)
        return found


class Keepscore:
    """The daemon's own order: its memory, its appraiser, its `removal_order`.

    An image's score can't fall faster than its quickest count of uses decays, by 1/e an hour,
    unless a newer version of it arrives. So an image whose last score, decayed like that, is above
    another's present one need not be scored again.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace, self._memory = trace, Memory()
        self._keys = [image.key for image in trace.images]
        self._repositories = [
            {repository for _, repository in tag_series(image.tags or image.digests)}
            for image in trace.images
        ]
        self._unused: defaultdict[str, set[int]] = defaultdict(set)  # by repository
        self._queue = Queue(len(trace.images))
        self._count, self._swept_at = 0, 0.0

    def pulled(self, image: int, at: float) -> None:
        if at - self._swept_at >= SWEPT_EVERY:
            self._memory.sweep(at)
            self._swept_at = at
        self._memory.arrive(self._trace.images[image], at)
        for repository in self._repositories[image]:
            for other in self._unused[repository]:
                self._queue.put(other, -math.inf)

    def started(self, image: int, at: float, *, opens: bool) -> None:
        self._count += 1
        key, state = self._keys[image], ContainerState.RUNNING
        one = Container(str(self._count), "", "", "", "", "", state, at, ())
        keys = frozenset((key,))
        self._memory.count(one, keys, 0.0, keys if opens else frozenset())
        self._memory.end(one.id, at)
        self._memory.log.clear()
        self._leave(image)

    def released(self, image: int, at: float) -> None:
        self._memory.touch(self._keys[image], at)
        self._queue.put(image, -math.inf)
        for repository in self._repositories[image]:
            self._unused[repository].add(image)

    def removed(self, image: int, at: float) -> None:
        self._memory.leave(self._keys[image], at)
        self._leave(image)

    def _leave(self, image: int) -> None:
        self._queue.drop(image)
        for repository in self._repositories[image]:
            self._unused[repository].discard(image)

    def first(self, may_go: MayGo, at: float) -> int | None:
        appraiser = Appraiser(self._memory.arrivals, at, unpacked=self._trace.crio)
        hours, examined = at / HOUR, []
        best, found = (math.inf, 0.0, ""), None
        for least, image in self._queue.taken():
            if least - hours > _log(best[0]) + 1e-9:
                examined.append((image, least))
                break
            if may_go(image):
                one, record = self._trace.images[image], self._memory.images[self._keys[image]]
                place = removal_order(appraiser.score(one, record), one, record)
                least = _log(place[0]) + hours
                if place < best:
                    best, found = place, image
            examined.append((image, least))
        for image, least in examined:
            self._queue.put(image, least)
        return found


def _log(score: float) -> float:
    return math.log(max(score, 1e-300))


KUBELET = "kubelet"  # for people: kubelet alone, without us
ORDERS: dict[str, Callable[[Trace], Order]] = {"keepscore": Keepscore, "lru": Lru}
