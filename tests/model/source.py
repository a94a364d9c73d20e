"""A source that reports the pods bound to the node to the daemon: early, late, twice, out of order,
not at all; it breaks, comes back, and is wrong at times."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

from reconciler.aiokit import Mailbox
from reconciler.domain.facts import Fact, PodGone, PodReported, PodsLost, PodsReported
from reconciler.domain.pods import MAIN, VOLUME, Need
from reconciler.domain.pods import Pod as ReportedPod

from .pods import Kubelet, Pod

Key = tuple[str, str]


class Source:
    """`fates` are what happens to the next things it reports."""

    def __init__(
        self,
        name: str,
        kubelet: Kubelet,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.name, self.kubelet, self._clock, self._loop = name, kubelet, clock, loop
        self.fates: deque[str] = deque()
        self.broken = False
        self._mailbox: Mailbox[Fact] | None = None
        self._swapped: tuple[Key, Callable[[], Fact]] | None = None
        self._random = random.Random(7)
        kubelet.changed, kubelet.gone = self.changed, self.gone

    def daemon_begins(self, mailbox: Mailbox[Fact]) -> None:
        """A new process of the daemon: everything is reported to it, soon or late, or that nothing
        is known."""
        self._mailbox, self._swapped = mailbox, None
        if self.broken:
            self.lose()
            return
        delay = self._random.choice((0.0, 0.0, 0.05, 2.0, 20.0))
        self._loop.call_later(delay, self._if_still(mailbox, self.report_all))

    def daemon_ends(self) -> None:
        """The process is over: reports on their way to it are dropped."""
        self._mailbox = None

    # --- what happens to pods ------------------------------------------------------------------

    def changed(self, pod: Pod) -> None:
        reported = _reported(pod)
        self._by_fate(("pod", pod.uid), lambda: PodReported(self._clock(), self.name, reported))

    def gone(self, pod: Pod) -> None:
        self._by_fate(("pod", pod.uid), lambda: PodGone(self._clock(), self.name, pod.uid))

    # --- what happens to the source ------------------------------------------------------------

    def report_all(self) -> None:
        """A complete list: at the start, and after it was lost."""
        self.broken = False
        pods = tuple(_reported(pod) for pod in self.kubelet.pods.values())
        self._put(("pods", "all"), lambda: PodsReported(self._clock(), self.name, pods))

    def lose(self) -> None:
        self.broken = True
        self._put(("pods", "lost"), lambda: PodsLost(self._clock(), "as the test wants it"))

    def report_stale_list(self) -> None:
        """A list that lacks the pod that was bound last."""
        pods = tuple(_reported(pod) for pod in list(self.kubelet.pods.values())[:-1])
        self._put(("pods", "all"), lambda: PodsReported(self._clock(), self.name, pods))

    def unknown_pod(self, uid: str, image: str) -> None:
        """A pod that is not bound here at all."""
        pod = ReportedPod(uid, f"default/nobody-{uid}", (Need(image, MAIN, "app"),))
        self._put(("pod", uid), lambda: PodReported(self._clock(), self.name, pod))

    def report_gone_by_mistake(self, pod: Pod) -> None:
        self._put(("pod", pod.uid), lambda: PodGone(self._clock(), self.name, pod.uid))

    # --- how it gets there ---------------------------------------------------------------------

    def _by_fate(self, key: Key, make: Callable[[], Fact]) -> None:
        if self.broken or self._mailbox is None:
            return
        fate = self.fates.popleft() if self.fates else ""
        if fate == "lost":
            return
        if fate == "swapped" and self._swapped is None:
            self._swapped = key, make
            return
        if fate == "late":
            late = self._if_still(self._mailbox, lambda: self._put(key, make))
            self._loop.call_later(self._random.uniform(0.1, 60.0), late)
            return
        self._put(key, make)
        if fate == "doubled":
            self._put(key, make)
        if self._swapped is not None:
            before, self._swapped = self._swapped, None
            self._put(*before)

    def _put(self, key: Key, make: Callable[[], Fact]) -> None:
        if self._mailbox is not None:
            self._mailbox.put(key, make())

    def _if_still(self, mailbox: Mailbox[Fact], work: Callable[[], None]) -> Callable[[], None]:
        return lambda: work() if self._mailbox is mailbox else None


def _reported(pod: Pod) -> ReportedPod:
    """A pod as its spec and status have it now."""
    needs = []
    for one in pod.wanted:
        kind = {"main": "container", "sidecar": "init container"}.get(one.kind, one.kind)
        kind = f"{kind} container" if kind in ("init", "ephemeral") else kind
        needs.append(Need(one.image, kind, one.name, one.policy))
        if one.volume:
            needs.append(Need(one.volume, VOLUME, f"of {one.name}", "IfNotPresent"))
    return ReportedPod(pod.uid, f"{pod.template.namespace}/{pod.name}", tuple(needs), pod.finished)
