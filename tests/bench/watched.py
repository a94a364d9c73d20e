"""The daemon with a stopwatch: the very parts that `reconciler run` puts together, in a process of
its own, with notes of when things happened. All times are of the machine's monotonic clock, which
all processes share.

Orders come on stdin, one a line, and are answered by one line of JSON: `go` opens the channel and
starts, `report` returns the notes since the last report.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio

from reconciler import app, assembly
from reconciler.cri.client import open_client
from reconciler.domain import facts
from reconciler.domain.inventory import FilesystemUsage
from reconciler.domain.plan import Plan
from reconciler.domain.state import State
from reconciler.host.clock import SteadyClock
from reconciler.http import server
from reconciler.http.health import missing
from reconciler.settings import Settings
from reconciler.sources import usage_probe
from reconciler.telemetry import logs
from reconciler.telemetry.journal import LogAndMetrics
from reconciler.telemetry.metrics import Metrics

from .messages import SIZE

# What libraries import when they are used first: imports are no part of any figure here.
LAZY = ("anyio._backends._asyncio", "uvicorn.protocols.http.h11_impl", "uvicorn.lifespan.off")
DISK = 1 << 40  # bytes
LONG = 0.02  # seconds of one step of the event loop that are worth a note


class Notes:
    """What happened since the last report."""

    def __init__(self) -> None:
        self.began = 0.0
        self.ready: float | None = None
        self.certain: float | None = None
        self.port = 0
        self.begun = 0  # removals, never cleared
        self.clear()

    def clear(self) -> None:
        self.samples: list[tuple[float, int]] = []  # when, bytes in use
        self.policies: list[float] = []
        self.plans = 0
        self.listings = 0
        self.removals = 0
        self.ages: list[float] = []  # seconds from an event's sending to the mailbox
        self.steps: list[tuple[float, float, str]] = []  # wall seconds, CPU seconds, of what

    def report(self) -> dict[str, object]:
        notes = dict(vars(self))
        self.clear()
        return notes


class NotingJournal(LogAndMetrics):
    """The daemon's own journal, which also takes notes."""

    def __init__(self, notes: Notes) -> None:
        super().__init__(Metrics())
        self.seen = notes

    def absorbed(self, fact: facts.Fact, state: State, at: float) -> None:
        super().absorbed(fact, state, at)
        notes = self.seen
        if isinstance(fact, facts.PolicyLoaded):
            notes.policies.append(time.monotonic())
        notes.listings += isinstance(fact, facts.Listed)
        notes.begun += isinstance(fact, facts.RemovalBegun)
        notes.removals += isinstance(fact, facts.RemovalFinished) and fact.gone
        if notes.ready is None and not missing(state):
            notes.ready = time.monotonic() - notes.began

    def decided(self, plan: Plan, state: State, at: float) -> None:
        super().decided(plan, state, at)
        self.seen.plans += 1

    def look(self, state: State) -> None:
        """Notes when nothing is left to ask that no list shows."""
        notes = self.seen
        waiting = (
            state.runtime.listed_at is None or state.asks_volumes or state.graph.unasked_sandboxes
        )
        if notes.certain is None and not waiting:
            notes.certain = time.monotonic() - notes.began


def noting_samples(notes: Notes, used_share: float | None) -> Callable[[str], FilesystemUsage]:
    """The daemon's own measure, with notes; or an ext4 disk filled to one share, on which every
    removal frees an image."""

    def measure(mountpoint: str) -> FilesystemUsage:
        if used_share is not None:
            used = int(used_share * DISK) - notes.begun * SIZE
            return FilesystemUsage(mountpoint, 1, DISK, used, kind="ext4")
        usage = usage_probe.measure(mountpoint)
        notes.samples.append((time.monotonic(), usage.used))
        return usage

    return measure


def noting_ages(daemon: assembly.Daemon, notes: Notes) -> None:
    """Notes how old every event is when it gets into the mailbox."""
    put = daemon.mailbox.put

    def noted(key: Any, fact: facts.Fact) -> None:
        put(key, fact)
        if isinstance(fact, facts.ContainerChanged):
            notes.ages.append(time.time() - fact.event.created_at)

    daemon.mailbox.put = noted  # type: ignore[method-assign] # a stopwatch on one instance


def noting_steps(notes: Notes) -> None:
    """Notes every long step of the event loop: while one runs, nothing else does."""
    run = asyncio.Handle._run  # the one place that all steps pass

    def timed(handle: asyncio.Handle) -> None:
        wall, cpu = time.monotonic(), time.thread_time()
        run(handle)
        took = time.monotonic() - wall
        if took >= LONG:
            notes.steps.append((took, time.thread_time() - cpu, repr(handle)[:200]))

    asyncio.Handle._run = timed  # type: ignore[method-assign, assignment] # a stopwatch


async def watched(arguments: argparse.Namespace, notes: Notes) -> None:
    """The daemon from the opening of its channel until stdin ends."""
    settings = Settings(
        f"unix://{arguments.socket}",
        "the benchmark",
        policy=arguments.policy,
        policy_named=True,
        state_dir=arguments.state,
        kubelet_config=arguments.state / "none",
    )
    bound = server.listening("127.0.0.1", 0)
    notes.port = bound.getsockname()[1]
    notes.began = time.monotonic()
    async with open_client(f"unix://{arguments.socket}") as client:
        measure, journal = noting_samples(notes, arguments.used), NotingJournal(notes)
        daemon = assembly.assemble(settings, client, SteadyClock(), measure, journal)
        if arguments.steps:
            noting_ages(daemon, notes)
            noting_steps(notes)
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, bound, app.web(daemon))
            group.start_soon(app.live, daemon)
            while await asyncio.to_thread(sys.stdin.readline):
                journal.look(daemon.state)
                print(json.dumps(notes.report()), flush=True)
            daemon.policies.stop()
            group.cancel_scope.cancel()
        daemon.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--policy", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--used", type=float, help="share of the disk in use; else measured")
    parser.add_argument("--every", type=float, default=usage_probe.EVERY)
    parser.add_argument("--steps", action="store_true")
    arguments = parser.parse_args()
    usage_probe.EVERY = arguments.every  # more crossings in less time
    logs.set_up(as_json=True, level="info")
    for name in LAZY:
        importlib.import_module(name)
    print("{}", flush=True)
    sys.stdin.readline()
    asyncio.run(watched(arguments, Notes()))


class Watched:
    """The program above as a child, from `with` to its end."""

    def __init__(self, socket: Path, policy: Path, home: Path, *flags: str) -> None:
        self._log = home / "watched.log"
        where = ["--socket", socket, "--policy", policy, "--state", home / "state", *flags]
        self._command = [sys.executable, "-m", "tests.bench.watched", *map(str, where)]

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._answer()
        self.order("go", answered=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        """The end of what it logged."""
        return self._log.read_text()[-3000:]

    def report(self) -> Any:
        """The notes since the last report."""
        return self.order("report")

    def until_ready(self, name: str = "ready", seconds: float = 60) -> Any:
        """The first report that says it is ready, or certain of all it has to ask."""
        deadline = time.monotonic() + seconds
        while (notes := self.report())[name] is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not {name}: {self.log()}")
            time.sleep(0.02)
        return notes

    def order(self, text: str, answered: bool = True) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()
        return self._answer() if answered else None

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the daemon ended: {self.log()}")
        return json.loads(line)


if __name__ == "__main__":
    main()
