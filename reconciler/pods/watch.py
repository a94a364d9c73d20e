"""Chooses the source of this node's pods, and what to do when none answers: `--pods`.

auto goes down a ladder: kubelet's socket, kubelet's /pods, the API server. The first that answers
is watched until it ends, then the ladder starts over; while a lower rung is watched, the higher
ones are tried from time to time. What a rung needs is imported when it is tried.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from ..aiokit import DELAYS, Mailbox, backoff_delays
from ..domain.facts import Fact, PodGone, PodReported, PodsLost, PodsReported
from ..settings import SERVICE_ACCOUNT, Settings, may_be_there
from .source import PodsUnavailable, Put, Sleep, Source

LADDERS = {
    "auto": ("socket", "kubelet", "api"),
    "socket": ("socket",),
    "kubelet": ("kubelet",),
    "api": ("api",),
    "off": (),
}
AGAIN = 60.0  # seconds until the ladder is tried again when no source answered
CLIMB = 300.0  # seconds between checks whether a better source answers by now
ASK = 2.0  # seconds that a better source has to answer then
HEALTHY = 60.0  # seconds after which a source counts as healthy, and the backoff starts over
LOOK_TIMEOUT = 3.0  # seconds that a one-shot command waits for all of them together


@dataclass(frozen=True, slots=True)
class Place:
    """Where each source is, by flags and a pod's environment."""

    mode: str  # --pods
    socket: Path
    kubelet: tuple[str, int] | None  # host and port
    kubelet_ca: Path | None
    api: tuple[str, int] | None
    node: str
    account: Path = SERVICE_ACCOUNT

    @classmethod
    def of(cls, settings: Settings, environ: Mapping[str, str] = os.environ) -> Place:
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
        port = port or "443"
        return cls(
            settings.pods,
            settings.pods_socket,
            settings.kubelet_endpoint,
            settings.kubelet_ca,
            (host, int(port)) if host and port.isdecimal() else None,
            settings.pods_node,
        )

    def source(
        self,
        name: str,
        clock: Callable[[], float],
        under_pressure: Callable[[], bool] = lambda: False,
        sleep: Sleep = anyio.sleep,
    ) -> Source:
        """Returns a source by its name. Raises PodsUnavailable with what is missing to try it."""
        if name == "socket":
            from .socket import SocketSource

            return SocketSource(self.socket, clock, sleep)
        token, ca = self.account / "token", self.account / "ca.crt"
        address = self.kubelet if name == "kubelet" else self.api
        if address is None:
            raise PodsUnavailable(
                "no address is known (--kubelet-endpoint, or NODE_IP in the environment)"
                if name == "kubelet"
                else "this is not a pod of a cluster (KUBERNETES_SERVICE_HOST is not set)"
            )
        if name == "api" and not self.node:
            raise PodsUnavailable("this node's name is not known (--node-name)")
        if not may_be_there(token):
            raise PodsUnavailable(f"there is no service account token ({token})")
        if name == "kubelet":
            from . import kubelet

            server = kubelet.server(*address, token, self.kubelet_ca or ca)
            return kubelet.KubeletSource(server, clock, under_pressure, sleep)
        from . import api

        return api.ApiSource(api.server(*address, token, ca), self.node, clock, sleep)


class PodWatch:
    """Watches the best source of pods that answers, for as long as the process lives.
    `under_pressure` says whether the node is under pressure now."""

    def __init__(
        self,
        place: Place,
        mailbox: Mailbox[Fact],
        clock: Callable[[], float],
        under_pressure: Callable[[], bool],
        sleep: Sleep = anyio.sleep,
    ) -> None:
        self._place, self._mailbox, self._clock = place, mailbox, clock
        self._under_pressure, self._sleep = under_pressure, sleep
        self._sources: dict[str, Source] = {}  # those that were tried
        self._delays: Iterator[float] | None = None  # after a loss

    async def run(self) -> None:
        """Goes down the ladder again and again."""
        while True:
            await self._sleep(await self.once())

    async def once(self) -> float:
        """Goes down the ladder to the first source that answers and watches it to its end; returns
        the seconds to wait before the next time."""
        began, reasons = self._clock(), Reasons()
        ladder = LADDERS[self._place.mode]
        for rank, name in enumerate(ladder):
            session = Session(self._mailbox)
            reason = await self._watch(name, session, ladder[:rank])
            if reason is None:
                return 0.0
            if session.reported:
                return self._lost(f"{name}: {reason}", began)
            reasons.add(name, reason)
        self._put_lost(str(reasons))
        return next(self._delays) if self._delays else AGAIN * random.uniform(0.8, 1.2)

    async def _watch(self, name: str, session: Session, better: tuple[str, ...]) -> str | None:
        """Watches one source; returns why it ended. None: a better one answers."""
        reason: str | None = None
        async with anyio.create_task_group() as group:
            if better:
                group.start_soon(self._climb, better, group.cancel_scope)
            try:
                source = self._source(name)
                await source.watch(session.putting(source))
            except PodsUnavailable as error:
                reason = str(error)
            except Exception as error:  # no error of a source may end the daemon
                reason = _fault(error)
            group.cancel_scope.cancel()
        return reason

    async def _climb(self, better: tuple[str, ...], scope: anyio.CancelScope) -> None:
        """Ends the scope when a better source answers."""
        while True:
            await self._sleep(CLIMB * random.uniform(0.8, 1.2))
            for name in better:
                # Shielded: the call has its own deadline, and grpc handles no other well.
                with anyio.CancelScope(shield=True):
                    try:
                        await self._source(name).ask(ASK)
                    except Exception:  # the reason is reported when it is really tried
                        continue
                scope.cancel()
                return

    def _source(self, name: str) -> Source:
        """Makes a source once: it may remember where it was. Raises PodsUnavailable."""
        if name not in self._sources:
            made = self._place.source(name, self._clock, self._under_pressure, self._sleep)
            self._sources[name] = made
        return self._sources[name]

    def _lost(self, reason: str, began: float) -> float:
        if self._delays is None or self._clock() - began >= HEALTHY:
            self._delays = backoff_delays((*DELAYS, AGAIN))
        self._put_lost(reason)
        return next(self._delays)

    def _put_lost(self, reason: str) -> None:
        self._mailbox.put(("pods", "lost"), PodsLost(self._clock(), reason))


class Session:
    """One source being watched: whether it reported any pods so far."""

    def __init__(self, mailbox: Mailbox[Fact]) -> None:
        self._mailbox = mailbox
        self.reported = False

    def putting(self, source: Source) -> Put:
        """Returns what puts the source's facts into the mailbox."""

        def put(fact: PodsReported | PodReported | PodGone) -> None:
            if isinstance(fact, PodsReported):
                self.reported = True
                fact = replace(fact, where=source.where)
            self._mailbox.put(_key(fact), fact)

        return put


def _key(fact: PodsReported | PodReported | PodGone) -> Hashable:
    match fact:
        case PodsReported():
            return ("pods", "all")
        case PodReported():
            return ("pod", fact.pod.uid)
        case PodGone():
            return ("pod", fact.uid)


async def look(
    place: Place, clock: Callable[[], float], timeout: float = LOOK_TIMEOUT
) -> PodsReported | PodsLost:
    """Asks once for the pods of this node, for a command that runs once: by the same ladder, within
    `timeout` seconds in total. Raises nothing."""
    reasons, end = Reasons(), anyio.current_time() + timeout
    ladder = LADDERS[place.mode]
    if not ladder:
        return PodsLost(clock(), "no source is asked for pods (--pods off)")
    for rank, name in enumerate(ladder):
        share = (end - anyio.current_time()) / (len(ladder) - rank)
        try:
            asked = clock()
            return PodsReported(asked, name, await place.source(name, clock).ask(max(share, 0.1)))
        except PodsUnavailable as error:
            reasons.add(name, str(error))
        except Exception as error:  # the command continues without pods
            reasons.add(name, _fault(error))
    return PodsLost(clock(), str(reasons))


class Reasons:
    """Why no source reports pods, as one sentence that names each try."""

    def __init__(self) -> None:
        self._reasons: list[str] = []

    def add(self, name: str, reason: str) -> None:
        self._reasons.append(f"{name}: {reason}")

    def __str__(self) -> str:
        return "no source reports this node's pods; " + "; ".join(self._reasons)


def _fault(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
