"""A whole daemon in this process: the real one, as `run` assembles it, with its HTTP server on
loopback, on a fake runtime with a disk of its own."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio

from reconciler.app import live, web
from reconciler.assembly import Daemon, assemble
from reconciler.cri.client import open_client
from reconciler.fake_runtime.habits import CONTAINERD_2, Habits
from reconciler.fake_runtime.node import Node
from reconciler.fake_runtime.server import FakeRuntimeServer
from reconciler.http import server
from reconciler.settings import PODS_SOCKET, Settings
from reconciler.telemetry import logs
from reconciler.telemetry.journal import LogAndMetrics
from reconciler.telemetry.metrics import Metrics
from reconciler.telemetry.recent import Recent

GIB = 1 << 30
POLICY = """apiVersion: reconciler/v1
kind: ImagePolicy
mode: enforce
watermarks: {high: 80%, low: 70%}
minimumAge: 0s
exclusions:
  - images: ["reg.example/keep/**"]
    reason: the story's
"""


@dataclass(slots=True)
class Whole:
    """What a test may touch: the world, the daemon, and where they are."""

    node: Node
    daemon: Daemon
    settings: Settings
    folder: Path

    @property
    def flags(self) -> list[str]:
        """For a command of ours on the same node."""
        settings = self.settings
        host, port = settings.listen
        return [
            *("-r", str(settings.runtime_endpoint)),
            *("--policy", str(settings.policy)),
            *("--state-dir", str(settings.state_dir)),
            *("--listen", f"{host}:{port}"),
        ]

    @property
    def address(self) -> str:
        host, port = self.settings.listen
        return f"http://{host}:{port}"

    async def until(self, condition: object, seconds: float = 20) -> None:
        """Waits until a condition of the world holds; AssertionError after `seconds`."""
        assert callable(condition)
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition never held"
            await anyio.sleep(0.02)


@contextlib.asynccontextmanager
async def whole(
    folder: Path,
    policy: str = POLICY,
    habits: Habits = CONTAINERD_2,
    capacity: int = 10 * GIB,
    token: str | None = None,
    node_name: str = "",
    pods: Path | None = None,
) -> AsyncIterator[Whole]:
    """A daemon that runs until the block ends; `pods` is the socket of kubelet's Pods API."""
    (folder / "policy.yaml").write_text(policy)
    token_file = folder / "token" if token else None
    if token_file is not None:
        token_file.write_text(token or "")
    node = Node(habits, capacity, 0, mountpoint=str(folder / "images"))
    node.disks.first.kind = "ext4"
    recent = Recent()
    logs.set_up(True, "info", recent)
    bound = server.listening("127.0.0.1", 0)
    # Short: a unix socket's path has room for about 100 characters.
    with tempfile.TemporaryDirectory(prefix="rw", dir="/tmp") as short:
        socket = f"{short}/cri.sock"
        settings = Settings(
            f"unix://{socket}",
            "the test",
            policy=folder / "policy.yaml",
            policy_named=True,
            state_dir=folder / "state",
            listen=("127.0.0.1", bound.getsockname()[1]),
            token_file=token_file,
            node_name=node_name,
            pods="socket" if pods else "off",
            pods_socket=pods or PODS_SOCKET,
        )
        async with FakeRuntimeServer(node, socket), open_client(socket) as client:
            journal = LogAndMetrics(Metrics(), recent)
            daemon = assemble(settings, client, time.time, node.usage, journal)
            async with anyio.create_task_group() as group:
                group.start_soon(live, daemon)
                group.start_soon(server.serve, bound, web(daemon))
                try:
                    yield Whole(node, daemon, settings, folder)
                finally:
                    daemon.policies.stop()
                    group.cancel_scope.cancel()
            daemon.close()
