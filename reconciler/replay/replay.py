"""Takes one node through one trace: what was pulled again, how long pods waited, what kubelet did.

A pull costs 1.5 s and then 50 MB a second, each at full speed however many there are, and fills the
disk on the way. What is counted is what an infinite disk would have avoided ("avoidable"): the
first pull of anything is the same for every order and is left out. A pull that fills the disk
fails, with all others, and is retried as kubelet does.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

from .daemon import AUTO, Daemon, Marks
from .disk import FIXED, Disk, Pull
from .kubelet import AS_SHIPPED, GC_EVERY, LOOKS_EVERY, Kubelet, KubeletSettings, pull_backoff
from .orders import Order
from .outcome import Outcome, why_unpreventable
from .trace import Trace


class Replay:
    """One node on its way through a trace. Without an order there is no daemon of ours; `kubelet`
    may be left out too."""

    def __init__(
        self,
        trace: Trace,
        disk: float,
        order: Order | None,
        marks: Marks = AUTO,
        kubelet: KubeletSettings | None = AS_SHIPPED,
    ) -> None:
        self._trace, self.disk, self._order = trace, Disk(trace, disk), order
        settings = kubelet or KubeletSettings()
        self._kubelet = Kubelet(settings, self.disk) if kubelet else None
        self.daemon = None
        if order is not None:
            self.daemon = Daemon(self.disk, order, marks, settings.config, self._wake)
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._counter = 0
        self._releases: list[tuple[float, int]] = []  # (when, which container is gone)
        self._running: dict[int, int] = {}  # the images of containers, by number, oldest first
        self._containers = 0
        self._look_at = math.inf
        self._ticks = {GC_EVERY: False, LOOKS_EVERY: False}  # whether the next one is awaited
        self._outcome = Outcome()

    def run(self) -> Outcome:
        """From the first start to the end."""
        for start in self._trace.starts:
            self._advance(start.at)
            self.disk.move(start.at)
            self._start(start.at, start.lasted, start.image)
        self._advance(self._trace.end)
        self.disk.move(self._trace.end)
        for pull in self.disk.pulls.values():
            self._count_waits(pull, self._trace.end)
        span = (self._trace.end - self._trace.warm) * self.disk.capacity
        self._outcome.mean_use = self.disk.area / span if span > 0 else 0.0
        if self.daemon is not None:
            self._outcome.overshoots = self.daemon.overshoots
        return self._outcome

    # --- time ----------------------------------------------------------------------------------

    def _at(self, at: float, happens: Callable[..., None], *what: object) -> None:
        self._counter += 1
        heapq.heappush(self._events, (at, self._counter, happens, what))

    def _advance(self, until: float) -> None:
        """Handles everything up to then, in order."""
        events, releases, disk = self._events, self._releases, self.disk
        while True:
            event = events[0][0] if events else math.inf
            release = releases[0][0] if releases else math.inf
            coming = min(event, release, until)
            if disk.speed and disk.full_at < coming:
                self._fill(disk.full_at)
            elif release <= min(event, until):
                at, container = heapq.heappop(releases)
                self._release(at, container)
            elif event <= until:
                at, _, happens, what = heapq.heappop(events)
                disk.move(at)
                happens(at, *what)
            else:
                return

    def _wake(self, at: float) -> None:
        """Lets our daemon look then at the latest."""
        if at < self._look_at:
            self._look_at = at
            self._at(at, self._look)

    def _look(self, at: float) -> None:
        if at != self._look_at or self.daemon is None:
            return  # it looked sooner
        self._look_at = math.inf
        self.daemon.track_overshoot()
        if self.daemon.look(at) is not None:
            self.daemon.track_overshoot()
            self._outcome.removals += at >= self._trace.warm

    # --- pulls and containers ------------------------------------------------------------------

    def _start(self, at: float, lasts: float, image: int) -> None:
        self._outcome.starts += at >= self._trace.warm
        if image in self.disk.images:
            self._run(at, lasts, image)
            return
        pull = self.disk.pulls.get(image) or self._pull(at, image)
        pull.starts.append((at, lasts))

    def _pull(self, at: float, image: int) -> Pull:
        pull = self.disk.begin(image, at)
        if pull.bytes:
            self._at(at + FIXED, self._write, pull)
            self._at(pull.ends, self._written, pull)
        self._at(pull.ready, self._arrive, pull)
        if self.daemon is not None:
            self._wake(math.ceil(at))  # one of the looks once a second
        self._tick(at, GC_EVERY)
        self._tick(at, LOOKS_EVERY)
        return pull

    def _write(self, at: float, pull: Pull) -> None:
        if not pull.failed:
            self.disk.write(pull)

    def _written(self, at: float, pull: Pull) -> None:
        if not pull.failed:
            self.disk.written(pull)

    def _arrive(self, at: float, pull: Pull) -> None:
        if pull.failed:
            return
        self._count_waits(pull, at)
        self._outcome.pulled_again += pull.pulled_again if pull.at >= self._trace.warm else 0.0
        self.disk.arrive(pull)
        if self._order is not None:
            self._order.pulled(pull.image, at)
        if self._kubelet is not None:
            self._kubelet.pulled(pull.image, at)
        for _, lasts in pull.starts:
            self._run(at, lasts, pull.image)

    def _count_waits(self, pull: Pull, until: float) -> None:
        had = bool(self.disk.had_images[pull.image])
        for at, _ in pull.starts:
            if at >= self._trace.warm:
                waited = until - at - max(0.0, pull.ideal_ready - at)
                self._outcome.cold += had and waited > 0
                self._outcome.delay += max(0.0, waited)

    def _fill(self, at: float) -> None:
        """The disk is full: every pull fails."""
        self.disk.move(at)
        if self._kubelet is not None and self._kubelet.gc_when_full:
            gone = self._kubelet.collect(at)
            self._removed(gone, at)
            if gone and self.disk.full_at > at:
                return
        for pull in self.disk.fail(at):
            self._outcome.emergencies += at >= self._trace.warm
            self._at(at + pull_backoff(pull.failures), self._pull_again, pull)

    def _pull_again(self, at: float, failed: Pull) -> None:
        """Retries a pull. The backoff counts as no delay: failed pulls are counted themselves."""
        for _, lasts in failed.starts:
            if failed.image in self.disk.images:
                self._run(at, lasts, failed.image)
                continue
            pull = self.disk.pulls.get(failed.image) or self._pull(at, failed.image)
            pull.failures = failed.failures + 1
            pull.starts.append((at, lasts))

    def _run(self, at: float, lasts: float, image: int) -> None:
        opens = self.disk.use(image)
        self._containers += 1
        self._running[self._containers] = image
        heapq.heappush(self._releases, (at + lasts + self._trace.lingers, self._containers))
        if self._order is not None:
            self._order.started(image, at, opens=opens)

    def _release(self, at: float, container: int) -> None:
        """A container is gone, for good."""
        image = self._running.pop(container, None)
        if image is None or not self.disk.release(image, at):
            return  # it was evicted, or others use its image
        if self._order is not None and self.daemon is not None:
            self._order.released(image, at)
            self.daemon.released(at)
        if self._kubelet is not None:
            self._kubelet.released(image, at)

    # --- kubelet -------------------------------------------------------------------------------

    def _tick(self, after: float, every: float) -> None:
        """Lets kubelet look at its next time, if that is not planned already."""
        if self._kubelet is not None and not self._ticks[every]:
            self._ticks[every] = True
            at = math.floor(after / every) * every + every
            self._at(at, self._collect if every == GC_EVERY else self._evict)

    def _ticked(self, at: float, line: float, every: float) -> None:
        self._ticks[every] = False
        if self.disk.pulls or self.disk.used >= line:
            self._tick(at, every)

    def _collect(self, at: float) -> None:
        kubelet = self._kubelet
        assert kubelet is not None
        if self.disk.used >= kubelet.gc_line:
            self._count_act(at, kubelet.gc_line)
            self._outcome.collections += at >= self._trace.warm
            self._removed(kubelet.collect(at), at)
        self._ticked(at, kubelet.gc_line, GC_EVERY)

    def _evict(self, at: float) -> None:
        kubelet = self._kubelet
        assert kubelet is not None
        if self.disk.used >= kubelet.eviction_line:
            self._count_act(at, kubelet.eviction_line)
            self._outcome.evictions += at >= self._trace.warm
            while self._releases and self._releases[0][0] <= at + self._trace.lingers:
                self._release(at, heapq.heappop(self._releases)[1])
            self._removed(kubelet.delete_unused(at), at)
            if self.disk.used >= kubelet.eviction_line and self._running:
                self._outcome.pods_evicted += at >= self._trace.warm
                self._release(at, next(reversed(self._running)))
        self._ticked(at, kubelet.eviction_line, LOOKS_EVERY)

    def _removed(self, images: list[int], at: float) -> None:
        if self._order is not None:
            for image in images:
                self._order.removed(image, at)
        if at >= self._trace.warm:
            self._outcome.removals += len(images)
            self._outcome.by_kubelet += len(images)
        if self.daemon is not None:
            self.daemon.track_overshoot()
            self._wake(at + 1.0)

    def _count_act(self, at: float, line: float) -> None:
        if self.daemon is not None:
            self.daemon.track_overshoot()
            self._outcome.count_act(why_unpreventable(self.disk, at, line))
