"""The composition root of `reconciler run`: opens files and sockets, runs sources and loop in one
task group, and shuts down cleanly. A source or loop that ends by itself ends the process."""

from __future__ import annotations

import functools
import gc
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import anyio.to_thread
from starlette.applications import Starlette

from . import __version__
from .aiokit import run_forever
from .assembly import Daemon, assemble
from .cri.client import open_client
from .domain.facts import EventsAbsent, Fact
from .domain.state import State
from .domain.watermark import Pressure
from .host.clock import SteadyClock, clocks_of_this_machine
from .host.lock import Lock
from .host.systemd import Notifier
from .http import server
from .http.health import Pulse
from .http.view import View
from .pods.configz import KubeletWatch
from .pods.watch import Place, PodWatch
from .settings import SOCKETS, Settings
from .sources.container_events import EventWatch
from .store.history import Entry
from .store.ledger import Ledger
from .telemetry import library_output, logs
from .telemetry.journal import LogAndMetrics
from .telemetry.metrics import Metrics
from .telemetry.node_events import ApiServer, NodeEvents
from .telemetry.recent import Recent

ENDING = (signal.SIGTERM, signal.SIGINT)
GC_THRESHOLD = (10_000, 20, 20)  # allocations; then collections of the younger generation
BEAT = 1.0  # seconds between beats of the pulse


async def run(settings: Settings) -> int:
    """`reconciler run`: runs until SIGTERM or SIGINT, then returns 0. Raises ListenFailed, and
    LockUnavailable if the state directory cannot be used."""
    recent, metrics = Recent(), Metrics()
    lost = metrics.log_lines_lost.inc
    logs.set_up(settings.log_json, settings.log_level, recent, lost=lost)
    library_output.redirect_to_log()
    log = logs.get_logger()
    endpoint = settings.runtime_endpoint or f"unix://{SOCKETS[0]}"
    bound = server.listening(*settings.listen)
    Ledger.make_room(settings.state_dir)
    with Lock() as lock, Lock() as ledger_lock:
        clock = SteadyClock()
        async with open_client(endpoint, settings.image_endpoint, clock=clock) as client:
            journal = LogAndMetrics(metrics, recent)
            clocks = functools.partial(clocks_of_this_machine, clock)
            daemon = assemble(
                settings,
                client,
                clock,
                journal=journal,
                lock=lock,
                ledger_lock=ledger_lock,
                clocks=clocks,
                wall=time.time,
            )
            log.info(
                "starting",
                version=__version__,
                endpoint=endpoint,
                endpoint_from=settings.endpoint_from or "nothing found yet, waiting there",
                policy=str(settings.policy),
                state_dir=str(settings.state_dir),
                listen="{}:{}".format(*bound.getsockname()[:2]),
            )
            for warning in settings.warnings:
                log.warning("endpoint-doubtful", detail=warning)
            try:
                with anyio.open_signal_receiver(*ENDING) as signals:
                    async with anyio.create_task_group() as group:
                        group.start_soon(end_on_signal, signals, group.cancel_scope, daemon)
                        group.start_soon(server.serve, bound, web(daemon))
                        await live(daemon)
                for number in ENDING:  # one more must not make a good end look like a kill
                    signal.signal(number, signal.SIG_IGN)
            finally:
                daemon.close()
    log.info("ended")
    return 0


async def live(daemon: Daemon) -> None:
    """Runs the sources and the loop until cancelled, then writes the ledger one last time."""
    gc.set_threshold(*GC_THRESHOLD)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(freeze_what_stays, daemon.state)
            for name, task in sources(daemon).items():
                group.start_soon(run_forever, name, task, name=name)
            await run_forever("the loop", daemon.reconciler.run)
    finally:
        with anyio.CancelScope(shield=True):
            await daemon.reconciler.end()


async def freeze_what_stays(state: State) -> None:
    """Excludes permanent objects from garbage collection, now and after the first listing: on a big
    node each full collection held up the event loop for 50 ms (docs/benchmarks.md)."""
    gc.freeze()
    while True:
        await anyio.sleep(BEAT)
        if state.runtime.listed_at is not None:
            gc.freeze()
            return


def sources(daemon: Daemon) -> dict[str, Callable[[], Awaitable[None]]]:
    """The long-running watchers, by name."""
    clock = daemon.reconciler.deps.clock
    watching: dict[str, Callable[[], Awaitable[None]]] = {
        "policy files": daemon.policies.watch,
        "usage probe": functools.partial(
            daemon.probe.run, daemon.mailbox, pause=lambda: daemon.state.disks.look_again_in
        ),
        "kubelet's configuration": KubeletWatch(daemon.settings, daemon.mailbox, clock).run,
        "pulse": functools.partial(beat, daemon.pulse, daemon.notifier),
    }
    if daemon.settings.events:
        events = EventWatch(daemon.runtime, daemon.mailbox, clock)
        watching["container events"] = events.run
    else:
        absent = EventsAbsent(clock(), "switched off with --events off")
        daemon.mailbox.put(("stream", "EventsAbsent"), absent)
    if daemon.settings.pods != "off":
        place, state = Place.of(daemon.settings), daemon.state
        watching["pods"] = PodWatch(
            place, daemon.mailbox, clock, lambda: state.disks.pressure is Pressure.RECLAIMING
        ).run
    node, api = daemon.settings.node_name, ApiServer.of_this_pod()
    if node and api is not None:
        journal, wall = daemon.journal, daemon.reconciler.deps.wall
        sender = NodeEvents(api, node, journal.notes, journal.metrics, clock, wall)
        watching["node events"] = sender.run
    return watching


async def beat(pulse: Pulse, notifier: Notifier) -> None:
    """Proves once a second that the event loop turns. systemd counts the daemon as started with
    the first beat; whether it has all it needs to remove anything is shown by /readyz."""
    notifier.ready()
    while True:
        notifier.alive()
        await anyio.sleep(BEAT)
        pulse.beat(BEAT)


def web(daemon: Daemon) -> Starlette:
    """The HTTP application on a daemon."""

    async def history(count: int, since: float, image: str) -> tuple[Entry, ...]:
        return await anyio.to_thread.run_sync(daemon.history.newest, count, since, image)

    def submit(fact: Fact) -> None:
        daemon.mailbox.put(("operator", type(fact).__name__), fact)

    clock = daemon.reconciler.deps.clock
    return server.application(
        View(
            state=daemon.state,
            pulse=daemon.pulse,
            metrics=daemon.journal.metrics,
            recent=daemon.journal.recent,
            clock=clock,
            history=history,
            submit=submit,
            latest=lambda: daemon.journal.latest,
            began_at=daemon.state.began_at,
            node=daemon.settings.node_name,
            token_file=daemon.settings.token_file,
            open_to_token=daemon.settings.api == "token",
            arrived=lambda: daemon.mailbox.received,
            monotonic=daemon.reconciler.deps.monotonic,
        )
    )


async def end_on_signal(
    signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope, daemon: Daemon
) -> None:
    """Ends the daemon cleanly on SIGTERM and SIGINT: it waits for a removal in flight. The receiver
    stays open until then, so that a second signal does not cut it short."""
    async for number in signals:
        logs.get_logger().info("ending", signal=number.name)
        daemon.notifier.stopping()
        daemon.policies.stop()
        scope.cancel()
        return
