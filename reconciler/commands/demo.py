"""`reconciler demo`: the real daemon on an embedded runtime with a lively simulated node.

Real are: the daemon as `run` assembles it, its socket, its policy file, its ledger. Simulated are
the runtime behind the socket, the disk, and the pods. Needs neither root nor a runtime.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import deque
from pathlib import Path

import anyio
import structlog

from ..app import Daemon, assemble, live
from ..cri.client import open_client
from ..domain import facts
from ..domain.decision import Candidate, Plan, decide
from ..domain.state import State
from ..embedded.habits import CONTAINERD_2
from ..embedded.life import Life
from ..embedded.node import Node
from ..embedded.server import EmbeddedRuntime
from ..engine.journal import LogAndMetrics
from ..metrics import Metrics
from ..settings import Settings
from .demo_screen import Seen, draw_live, draw_plain

CAPACITY = 12 << 30  # bytes of the simulated disk
BASE = 5 << 30  # bytes on it that are not images
TICK = 0.6  # seconds between two things that happen

POLICY = """\
apiVersion: reconciler/v1
kind: ImagePolicy
mode: enforce
watermarks: {high: 80%, low: 72%}
minimumAge: 2s                # the node's life is short, so ages are too
exclusions:
  - images: ["registry.example.com/base/**"]
    reason: cold start budget
"""


class Watched(LogAndMetrics):
    """The daemon's journal, and what the screen shows of it."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(Metrics())
        self._seen = seen

    def absorbed(self, fact: facts.Fact, state: State, at: float) -> None:
        super().absorbed(fact, state, at)
        if isinstance(fact, facts.RemovalFinished) and fact.gone:
            self._seen.removed(fact)

    def removing(self, candidate: Candidate, state: State, at: float) -> None:
        super().removing(candidate, state, at)
        self._seen.why(candidate, at)

    def decided(self, plan: Plan, state: State, at: float) -> None:
        super().decided(plan, state, at)
        self._seen.plan = plan


async def demo(seconds: float, seed: int, *, plain: bool) -> int:
    """Runs for so many seconds; 1 if an image in use was removed, which must never happen."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(50),  # the screen is the log here
    )
    with tempfile.TemporaryDirectory(prefix="reconciler-demo-") as folder:
        home = Path(folder)
        (home / "policy.yaml").write_text(POLICY)
        node = Node(CONTAINERD_2, CAPACITY, BASE, mountpoint=str(home / "images"))
        life = Life(node, seed)
        life.begin(time.time())
        socket = str(home / "cri.sock")
        async with EmbeddedRuntime(node, socket) as runtime, open_client(socket) as client:
            settings = Settings(
                f"unix://{socket}", "demo", policy=home / "policy.yaml", state_dir=home / "state"
            )
            seen = Seen(deque(maxlen=8))
            daemon = assemble(settings, client, time.time, node.usage, Watched(seen))
            await _watch(daemon, life, seen, seconds, plain or not sys.stdout.isatty())
            daemon.close()
            wrong = [one for one in runtime.calls.removals if one.users or one.pinned]
    seen.summary(len(wrong))
    return 1 if wrong else 0


async def _watch(daemon: Daemon, life: Life, seen: Seen, seconds: float, plain: bool) -> None:
    deadline = time.monotonic() + seconds
    async with anyio.create_task_group() as group:
        group.start_soon(live, daemon)
        group.start_soon(_live, life)
        draw = draw_plain if plain else draw_live
        await draw(lambda: _look(daemon, life, seen), deadline)
        daemon.policies.stop()
        group.cancel_scope.cancel()


def _look(daemon: Daemon, life: Life, seen: Seen) -> Seen:
    """Brings the screen's picture up to date with the daemon's own state."""
    state = daemon.state
    seen.happened = life.happened
    seen.filesystem = next(iter(state.filesystems.values()), None)
    seen.plan = decide(state, state.policy, time.time())
    return seen


async def _live(life: Life) -> None:
    while True:
        life.step(time.time())
        await anyio.sleep(TICK)
