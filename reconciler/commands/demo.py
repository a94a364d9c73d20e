"""`reconciler demo`: the real daemon on a fake runtime with a lively simulated node.

Real are the daemon as `run` assembles it, its socket, its policy file and its ledger. Simulated are
the runtime behind the socket, the disk, the pods, and an operator who saves an exclusion half-way.
It needs neither root nor a runtime.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from ..app import live, web
from ..assembly import Daemon, assemble
from ..cri.client import open_client
from ..domain import facts
from ..domain.decision import decide
from ..domain.state import State
from ..fake_runtime.habits import CONTAINERD_2
from ..fake_runtime.life import Life
from ..fake_runtime.node import Node
from ..fake_runtime.server import FakeRuntimeServer
from ..http import server
from ..settings import LISTEN, Settings, parse_listen
from ..telemetry import logs
from ..telemetry.journal import LogAndMetrics
from ..telemetry.metrics import Metrics
from ..telemetry.recent import Recent
from .demo_kubelet import Kubelet
from .demo_lines import Seen, draw_plain, summary
from .demo_rival import Rival

CAPACITY = 12 << 30  # bytes of the simulated disk
BASE = 5 << 30  # bytes on it that are not images
TICK = 0.6  # seconds between two events of the simulated node
EDIT_AT = 0.45  # fraction of the run time after which the operator saves an exclusion

HIGH, LOW = 80, 72  # percent
POLICY = f"""\
apiVersion: reconciler/v1
kind: ImagePolicy
mode: enforce
watermarks: {{high: {HIGH}%, low: {LOW}%}}
minimumAge: 2s                # the node's life is short, so ages are too
exclusions:
  - images: ["registry.example.com/base/**"]
    reason: cold start budget
"""
EDIT = """\
  - images: ["registry.example.com/cron/**"]
    reason: nightly jobs start from the cache
"""

Look = Callable[[], Seen]
Draw = Callable[[Look], Awaitable[None]]


class OutputFailed(Exception):
    """What was to be shown can't be written: nobody reads it, or its disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Watched(LogAndMetrics):
    """The daemon's journal, which also updates what the screen shows."""

    def __init__(self, seen: Seen, recent: Recent) -> None:
        super().__init__(Metrics(), recent)
        self._seen = seen

    def absorbed(self, fact: facts.Fact, state: State, at: float) -> None:
        super().absorbed(fact, state, at)
        if isinstance(fact, facts.RemovalFinished) and fact.gone:
            self._seen.removed(fact, state.disks.bytes_shown)
            if self._seen.rival is not None:
                self._seen.rival.removed_by_us(fact.removal.image.id)
        if isinstance(fact, facts.PolicyLoaded):
            self._seen.in_force()


async def demo(seconds: float, seed: int, *, plain: bool) -> int:
    """Runs for `seconds` or until Ctrl-C. Returns 1 if an image in use was removed, which must not
    happen. Raises OSError if nothing can be shown any more."""
    draw: Draw = draw_plain
    if not plain and _can_draw():
        from .demo_screen import draw_live

        draw = draw_live
    try:
        seen, wrong = await show(draw, seconds, seed)
    except OutputFailed as end:
        raise end.error from None
    except OSError as error:
        where = f"a folder for its files under {tempfile.gettempdir()} (TMPDIR names another)"
        print(f"error: the demo needs {where}: {error}", file=sys.stderr)
        return 1
    summary(seen, wrong)
    return 1 if wrong else 0


def _can_draw() -> bool:
    """Whether stdout is a terminal that can show the screen."""
    able = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return able and sys.stdout.encoding.lower().startswith("utf")


async def show(draw: Draw, seconds: float, seed: int) -> tuple[Seen, int]:
    """Runs the daemon and the simulated node, and draws them until the time is up, `draw` ends or
    the user interrupts. Returns what was seen, and how many images were removed wrongly."""
    recent = Recent()
    logs.set_up(False, "info", recent, logs.Discarded())  # the screen and the page are the log here
    bound = _listening()
    host, port = bound.getsockname()[:2]
    with bound, tempfile.TemporaryDirectory(prefix="reconciler-demo-") as folder:
        home = Path(folder)
        policy = home / "policy.yaml"
        policy.write_text(POLICY)
        node = Node(CONTAINERD_2, CAPACITY, BASE, mountpoint=str(home / "images"))
        node.disks.first.kind = "ext4"
        rival = Rival(node, HIGH / 100, LOW / 100)
        life = Life(node, seed)
        life.begin(time.time())
        path = str(home / "cri.sock")
        async with FakeRuntimeServer(node, path) as runtime, open_client(path) as client:
            settings = Settings(
                f"unix://{path}",
                "demo",
                policy=policy,
                state_dir=home / "state",
                listen=(host, port),
            )
            seen = Seen(seconds, page=f"http://{host}:{port}/", rival=rival)
            daemon = assemble(settings, client, time.time, node.usage, Watched(seen, recent))
            kubelet = Kubelet(node, daemon.mailbox)
            kubelet.begin()
            life.bound = kubelet.bound
            try:
                await _run(daemon, bound, life, seen, draw)
            finally:
                daemon.close()
            wrong = [one for one in runtime.calls.removals if one.users or one.pinned]
    return seen, len(wrong)


def _listening() -> socket.socket:
    """A socket on the default address, so that the other commands find the demo's daemon by
    themselves; on any free port if that is in use."""
    try:
        return server.listening(*parse_listen(LISTEN))
    except server.ListenFailed:
        return server.listening("127.0.0.1", 0)


async def _run(daemon: Daemon, bound: socket.socket, life: Life, seen: Seen, draw: Draw) -> None:
    """Runs everything in one task group, which ends with the drawing. Raises OutputFailed."""
    broken: list[OSError] = []
    async with anyio.create_task_group() as group:
        group.start_soon(live, daemon)
        group.start_soon(server.serve, bound, web(daemon))
        group.start_soon(_run_node, life)
        group.start_soon(_operator, daemon.settings.policy, seen)
        group.start_soon(_interrupted, group.cancel_scope)
        with anyio.move_on_after(seen.seconds):
            try:
                await draw(lambda: _look(daemon, life, seen))
            except OSError as error:  # raised again outside of the group
                broken.append(error)
        daemon.policies.stop()
        group.cancel_scope.cancel()
    if broken:
        raise OutputFailed(broken[0])


def _look(daemon: Daemon, life: Life, seen: Seen) -> Seen:
    """Updates what is drawn from the daemon's own state."""
    state = daemon.state
    seen.happened = life.happened
    seen.measured(next(iter(state.disks.filesystems.values()), None))
    seen.plan = decide(state, state.operator.policy, time.time())
    return seen


async def _run_node(life: Life) -> None:
    while True:
        life.step(time.time())
        await anyio.sleep(TICK)


async def _operator(policy: Path, seen: Seen) -> None:
    """Saves an edit as editors do: another file, renamed over it."""
    await anyio.sleep(EDIT_AT * seen.seconds)
    fresh = policy.with_suffix(".new")
    fresh.write_text(POLICY + EDIT)
    seen.saved()
    fresh.replace(policy)


async def _interrupted(scope: anyio.CancelScope) -> None:
    """Ends the demo cleanly on Ctrl-C and SIGTERM, with its summary."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            return
