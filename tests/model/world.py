"""A node, its runtime, its operator and the daemon, in one process and in virtual time.

The daemon is the real one, as `assemble` makes it and `app.live` runs it: loop, mailbox, event
watch, usage probe, policy source on real files, ledger on a real disk, and the CRI client down to
its bytes. Replaced are only the socket (`wire`), the file watcher (a nudge), threads (done in
place), the disk's size and the clock.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import anyio

from reconciler import app, assembly
from reconciler.aiokit import Mailbox
from reconciler.cri.client import CriClient
from reconciler.domain.awaited import WAITED_FOR, Awaited
from reconciler.domain.facts import Fact, Paused, PolicyLoaded, ReclaimAsked, Resumed, UsageSampled
from reconciler.domain.inventory import FilesystemUsage, UsageSample, image_key
from reconciler.domain.plan import Plan
from reconciler.domain.policy import Policy, unchanged
from reconciler.domain.state import State
from reconciler.engine.reconcile import Reconciler
from reconciler.fake_runtime.habits import Habits
from reconciler.fake_runtime.node import Node, Stored, layer
from reconciler.host.clock import Reading
from reconciler.policy.files import Text
from reconciler.settings import Settings
from reconciler.sources.policy_file import PolicySource, Signature
from reconciler.store.ledger import Ledger
from reconciler.telemetry.journal import LogAndMetrics
from reconciler.telemetry.metrics import Metrics

from .clockwork import Livelock, VirtualLoop
from .http_api import HttpApi
from .marks import CAPACITY as CAPACITY
from .oracle import Oracle
from .pods import Kubelet
from .policies import Book
from .rival import Rival
from .service import RUNTIME, Service
from .source import Source
from .stream import rpc_error
from .wire import Channel

T0 = 1_800_000_000.0  # the wall clock when every story begins
MIB = 1 << 20


class Process(Protocol):
    """A daemon, or a command that removes."""

    @property
    def reconciler(self) -> Reconciler: ...
    @property
    def mailbox(self) -> Mailbox[Fact]: ...
    def close(self) -> None: ...


Save = Callable[[State], Awaitable[None]]
CIRCUIT = "unix:///in-process"


class Broken(AssertionError):
    """A promise was broken; the text is the violations and the history that led to them."""


class Mute(LogAndMetrics):
    """A journal that writes nothing: its lines and figures take longer than the decisions."""

    def absorbed(self, fact: Fact, state: State, at: float) -> None:
        pass

    def decided(self, plan: Plan, state: State, at: float) -> None:
        pass


class Noting(Mailbox[Fact]):
    """The mailbox, which reports to the oracle what the loop took out of it."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def drain(self) -> list[Fact]:
        facts = super().drain()
        self._world.drained(facts)
        return facts


class Nudged(PolicySource):
    """The policy source with a nudge for a watcher; it reports to the oracle when it reads."""

    world: World
    nudge: asyncio.Event

    async def watch(self) -> None:
        while True:
            await self.refresh()
            await self.nudge.wait()
            self.nudge.clear()

    def _read(self) -> tuple[Signature, Text]:
        """Settled at once: the book's edits differ by their times, and whether it is by the clock
        would depend on how fast this machine is in real time."""
        self.world.book.looked()
        signature, text = super()._read()
        return replace(signature, changed_at=0), text


class World:
    """Driven from outside, step by step: `advance` lets virtual time pass. `source`: the pod
    source that reports the node's pods; empty: none."""

    def __init__(self, habits: Habits, folder: Path, mute: bool = False, source: str = "") -> None:
        self.mute, self.folder = mute, folder
        self.loop = VirtualLoop()
        self.shift = 0.0  # seconds that the wall clock was set forward, in all
        self._offset = T0  # the daemon's clock: the wall clock at its start, and the loop's since
        self.node = Node(habits, CAPACITY, mountpoint="/images", clock=self.loop.time)
        self.node.publish(self.node.pause_name, [layer("pause", 40 * MIB)])
        self.book = Book(folder / "policy.yaml")
        self.kubelet = Kubelet(self.node, self.wall)
        self.source = Source(source, self.kubelet, self.clock, self.loop) if source else None
        self.oracle = Oracle(self.node, self.book, self.clock, self.kubelet.needed)
        self.oracle.dates = self.wall
        self.service = Service(self.node, self.oracle, self.clock, self.loop, self.wall)
        self.disks = self.oracle.disks = self.node.disks
        self.ledger_broken = False
        self.slow_saves: list[float] = []  # seconds that the next ones take
        self.channels: dict[str, Channel] = {}
        self.rival = Rival(self)
        self._background: set[asyncio.Task[None]] = set()
        self._process: asyncio.Task[None] | None = None
        self.daemon: Process | None = None
        self.api: HttpApi | None = None  # of this process, once a client used it
        self.scope: anyio.CancelScope | None = None
        self._nudge = asyncio.Event()

    def close(self) -> None:
        """Ends the daemon and the loop."""
        try:
            if self.running:
                self.stop(kill=True)
        finally:
            self._cancel_background()
            if self._background:
                self.loop.run_until_complete(asyncio.wait(self._background))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    def in_background(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Starts work that goes on while the daemon runs, until the world's end at the latest."""
        task = self.loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _cancel_background(self) -> None:
        """Cancels all work in the background."""
        self.rival.end()
        for task in self._background:
            task.cancel()

    # --- time ----------------------------------------------------------------------------------

    def wall(self) -> float:
        return T0 + self.loop.time() + self.shift

    def set_clock(self, shift: float) -> None:
        """Sets the wall clock `shift` seconds ahead of what it was at the beginning."""
        self.shift = shift
        self.oracle.knows.clock_set = shift
        self.note("the wall clock was set; in all, by seconds:", shift)

    def clock(self) -> float:
        """What the daemon's clock says."""
        return self._offset + self.loop.time()

    def clocks(self) -> Reading:
        """The daemon's clock, and the one that cannot be set."""
        return Reading(self.clock(), "the only start", self.loop.time())

    def advance(self, seconds: float) -> None:
        """Lets everything run for some seconds of virtual time. Raises Broken."""
        try:
            self.loop.run_until_complete(asyncio.sleep(seconds))
        except Livelock:
            self.check()  # a broken promise is worse
            raise
        self.check()

    def check(self) -> None:
        if self.oracle.violations:
            found = "\n".join(map(str, self.oracle.violations))
            raise Broken(f"{found}\n\n{self.oracle.history}")
        if self._process is not None and self._process.done():
            error = self._process.exception()
            if error is None and self.oracle.command is not None:
                return
            raise Broken(f"the daemon ended: {error!r}\n\n{self.oracle.history}") from error

    # --- the daemon ----------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def ended(self) -> bool:
        """Whether the process has come to its end by itself."""
        return self._process is not None and self._process.done()

    def start(
        self, ledger: bool = True, live: Callable[[], Coroutine[None, None, None]] | None = None
    ) -> None:
        """A new process of the daemon; without its ledger, if that is lost. `live`: what to run
        in its place."""
        if not ledger:
            shutil.rmtree(self.folder / "state", ignore_errors=True)
        self._offset = self.wall() - self.loop.time()
        self.oracle.process_begins(ledger, self.shift)
        self.oracle.saved_at = None
        self._nudge = asyncio.Event()
        self._process = self.loop.create_task((live or self._live)())
        self.loop.run_until_complete(asyncio.sleep(0))  # it has read its ledger now
        self.note("the daemon starts" if ledger else "the daemon starts without its ledger")

    def stop(self, kill: bool = False) -> None:
        """SIGTERM, which waits for a removal in flight; or SIGKILL, which nothing survives."""
        assert self._process is not None
        if self.source is not None:
            self.source.daemon_ends()
        self.note("the daemon is killed" if kill else "the daemon is stopped")
        if kill and self.daemon is not None:
            self.daemon.reconciler.deps.save = _saves_nothing
            for channel in self.channels.values():
                channel.cut()
        process, self._process = self._process, None
        self.loop.run_until_complete(self._ended(process))
        if self.daemon is not None:
            self.daemon.close()
        self.daemon = self.scope = self.api = None
        self.rival.release()  # the kernel's lock ends with its process
        error = None if process.cancelled() else process.exception()
        if error is not None:
            raise error
        self.check()

    async def _ended(self, process: asyncio.Task[None]) -> None:
        if self.scope is None:  # it did not even begin
            process.cancel()
        else:
            self.scope.cancel()
        await asyncio.wait([process])

    def command(self, make: Callable[[float], Fact]) -> None:
        """The operator's request, as the HTTP API passes it on."""
        if self.daemon is not None:
            fact = make(self.clock())
            self.daemon.mailbox.put(("operator", type(fact).__name__), fact)
            if isinstance(fact, Paused | Resumed):  # it counts at once
                self.oracle.paused = isinstance(fact, Paused)

    def lose_state(self) -> None:
        """The state directory is removed under the daemon; what is on disk is what it writes from
        now on."""
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        self.oracle.knows.forget_disk()
        self.oracle.saved_at = None

    def nudge(self) -> None:
        """The file watcher saw something."""
        self._nudge.set()

    async def _live(self) -> None:
        client = self.client()
        settings = self.settings()
        journal = Mute(Metrics()) if self.mute else None
        daemon = assembly.assemble(
            settings,
            client,
            self.clock,
            self.measure,
            journal,
            self.rival,
            clocks=self.clocks,
            wall=self.wall,
        )
        self.daemon = daemon
        daemon.policies = self.replace_dependencies(daemon.reconciler, daemon.ledger, unchanged)
        daemon.mailbox = daemon.reconciler.deps.mailbox
        with anyio.CancelScope() as self.scope:
            await app.live(daemon)

    def settings(self) -> Settings:
        state = self.folder / "state"
        return Settings(
            CIRCUIT,
            "model",
            policy=self.book.path,
            policy_named=True,
            state_dir=state,
            kubelet_config=self.folder / "kubelet.yaml",  # there is none: it is as shipped
        )

    def replace_dependencies(
        self, reconciler: Reconciler, ledger: Ledger, adapt: Callable[[Policy], Policy]
    ) -> Nudged:
        """Replaces the dependencies of a process by the world's own, each of which reports to the
        judge; returns its policy source."""
        mailbox, deps = Noting(self), reconciler.deps
        policies = Nudged(self.book.path, True, mailbox, self.clock, adapt, wall=self.wall)
        policies.world, policies.nudge = self, self._nudge
        deps.mailbox, deps.policies, deps.monotonic = mailbox, policies, self.loop.time
        deps.sample, deps.save = self._reporting(deps.sample), self._saving(ledger, deps.save)
        if self.source is not None:
            reconciler.state.pods.awaited = Awaited(self.clock() + WAITED_FOR)
            self.source.daemon_begins(mailbox)
        return policies

    def client(self, patience: float | None = None) -> CriClient:
        """A process's connections, to one socket or to two."""
        self.channels.clear()

        def connect(path: str) -> Channel:
            return self.channels.setdefault(path, Channel(self.service, path))

        return CriClient(RUNTIME, self.service.image_socket, patience, self.clock, connect)  # type: ignore[arg-type] # as much of a channel as is used

    def _reporting(
        self, sample: Callable[[], Awaitable[UsageSample]]
    ) -> Callable[[], Awaitable[UsageSample]]:
        """A measurement that the loop asks for itself is known at once."""

        async def reported() -> UsageSample:
            found = await sample()
            self.measured(found)
            return found

        return reported

    def _saving(self, ledger: Ledger, save: Save) -> Save:
        async def saving(state: State) -> None:
            began = self.clock()
            self.service.surprise("save", "before")
            if self.slow_saves:
                await asyncio.sleep(self.slow_saves.pop())
            await save(state)
            works = ledger.trouble is None
            self.oracle.saved_at = began if works else None
            if works:
                self.oracle.knows.saved()
            self.service.surprise("save", "after")

        return saving

    def measure(self, mountpoint: str) -> FilesystemUsage:
        return self.disks.measure(mountpoint)

    def drained(self, facts: Iterable[Fact]) -> None:
        self.oracle.knows.drained()
        self.oracle.knows.pods.drained()
        for fact in facts:
            self.oracle.knows.pods.reported(fact)
            if isinstance(fact, UsageSampled):
                self.measured(fact.sample)
            elif isinstance(fact, PolicyLoaded):
                self.oracle.weigh(self.book.read)  # by what was measured last
            elif isinstance(fact, ReclaimAsked):
                self.oracle.wanted(self.book.read)
        self.oracle.weigh(self.book.read)

    def measured(self, sample: UsageSample) -> None:
        """The loop received that measurement."""
        self.oracle.measured(sample)
        self.oracle.weigh(self.book.read)

    def about_to_go(self) -> Stored | None:
        """The image whose removal the daemon is about to ask for, while it writes that down."""
        state = self.daemon.reconciler.state if self.daemon is not None else None
        planned = state.removals.planned if state is not None else None
        return self.node.images.get(image_key(planned.image_id)) if planned is not None else None

    # --- the world around it -------------------------------------------------------------------

    def note(self, text: str, more: object = "") -> None:
        self.oracle.history.note(text, more)

    def outage(self) -> None:
        """The runtime goes away: its streams break, nothing answers."""
        self.service.down = True
        self.service.streams.end_all(rpc_error("UNAVAILABLE", "Stream removed (Socket closed)"))

    def recover(self, habits: Habits | None = None) -> None:
        """The runtime is back, maybe as another one on the same socket."""
        if habits is not None:
            self.node.habits = habits
        self.service.down = False
        self.service.away.clear()

    def calm(self) -> None:
        """All troubles are over; what they left behind stays."""
        service = self.service
        service.faults.clear()
        service.during.clear()
        service.streams.fates.clear()
        service.streams.go_on()
        service.streams.unresolved.clear()
        service.twice.clear()
        service.lags.clear()
        self.slow_saves.clear()
        self.disks.calm()
        self.recover()
        self._cancel_background()
        if self.source is not None:
            self.source.fates.clear()
            self.source.report_all()
        if not self.running:
            self.start()
        self.note("all is calm")


async def _saves_nothing(state: State) -> None:
    """What a killed process saves."""
