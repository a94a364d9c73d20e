"""An operator's desk: a node behind a real socket, a policy file, and the command as typed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from reconciler.cli import main as cli
from reconciler.commands import prune, survey
from reconciler.fake_runtime.habits import CONTAINERD_2, Habits
from reconciler.fake_runtime.images import Stored
from reconciler.fake_runtime.node import Node, layer
from reconciler.fake_runtime.server import FakeRuntimeServer
from tests.builders import GIB, MIB

POLICY = """\
apiVersion: reconciler/v1
kind: ImagePolicy
mode: observe
minimumAge: 0s
exclusions:
  - images: ["reg.example/keep:*"]
    reason: cold start budget
"""
LONG_AGO = 1_700_000_000.0


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Desk:
    """`run` types a command for this node; `node` is the truth."""

    def __init__(self, folder: Path, node: Node, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.node, self._capsys = folder, node, capsys
        self.socket, self.policy = folder / "cri.sock", folder / "policy.yaml"
        self.policy.write_text(POLICY)
        (folder / "images").mkdir()
        self.runtime = FakeRuntimeServer(node, str(self.socket))

    async def run(self, *arguments: str, node: bool = True) -> Done:
        """Runs a command as typed, with the flags that name this node."""
        flags = ["-r", str(self.socket), "--policy", str(self.policy)]
        flags += ["--state-dir", str(self.folder / "state")]
        typed = [*arguments, *(flags if node else ())]
        self._capsys.readouterr()
        code = await anyio.to_thread.run_sync(exit_code, typed)
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return Done(code, out, err)

    def image(self, name: str, size: int = 100 * MIB) -> Stored:
        """An image pulled long ago."""
        full = f"reg.example/{name}"
        self.node.publish(full, [layer(name, size)])
        return self.node.pull(full, LONG_AGO)

    def run_pod(self, image: str) -> str:
        """Starts a pod with one container; returns the container's id."""
        pod = self.node.run_pod(f"pod-{image.partition(':')[0]}", LONG_AGO)
        made = self.node.create(pod.id, f"reg.example/{image}", LONG_AGO)
        self.node.start(made.id, LONG_AGO)
        return made.id

    def left(self) -> list[str]:
        """The tags of the images on the node, without pause."""
        tags = [tag for image in self.node.images.values() for tag in image.tags]
        return sorted(t.removeprefix("reg.example/") for t in tags if "pause" not in t)


def exit_code(arguments: list[str]) -> int:
    """The exit code of a command as typed."""
    try:
        return cli.main(arguments)
    except SystemExit as end:  # argparse's way to end
        return int(end.code or 0)


@asynccontextmanager
async def desk(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    habits: Habits = CONTAINERD_2,
) -> AsyncIterator[Desk]:
    """A node of 10 GiB, 6 of them not images: eight of 360 MiB bring it to 88 percent. The disk is
    simulated, so what the commands measure is the node's own answer."""
    with tempfile.TemporaryDirectory(prefix="desk-") as folder:
        node = Node(habits, 10 * GIB, 6 * GIB, mountpoint=f"{folder}/images")
        made = Desk(Path(folder), node, capsys)
        for module in (survey, prune):
            monkeypatch.setattr(module, "measure", node.usage)
        async with made.runtime:
            yield made


def fill(made: Desk) -> None:
    """Five images that nobody uses, one in use, one excluded, one imported."""
    for number in range(5):
        made.image(f"app{number}:v1")
    made.image("used:v1")
    made.run_pod("used:v1")
    made.image("keep:v1")
    made.node.import_image("reg.example/imported:v1", [layer("imported", 100 * MIB)])
