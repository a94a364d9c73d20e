"""The container image: it builds with nothing fetched, and runs as the shipped manifest's pod."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from reconciler import __version__
from reconciler.fake_runtime.habits import CONTAINERD_2
from reconciler.fake_runtime.node import Node, layer
from reconciler.fake_runtime.server import FakeRuntimeServer
from reconciler.host.lock import Lock

from .image import Builder, Pod
from .images import MEBIBYTE, until

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Builder]]:
    """The image's root filesystem, built once."""
    with Builder(tmp_path_factory.mktemp("image") / "buildah") as builder:
        builder.build()
        yield builder.root(), builder


@pytest.fixture
def pod(built: tuple[Path, Builder], tmp_path: Path) -> Iterator[Pod]:
    """The manifest's pod, not started yet."""
    root, builder = built
    made = Pod(root, builder.config(), tmp_path / "pod")
    yield made
    made.stop()


def test_the_image_answers_as_the_command(built: tuple[Path, Builder], pod: Pod) -> None:
    """The entry point is the command, its default the daemon; the shipped policy is inside."""
    root, builder = built
    config = builder.config()
    assert (config["Entrypoint"], config["Cmd"]) == (["reconciler"], ["run"])
    assert pod.command("--version").stdout == f"reconciler {__version__}\n"
    assert (root / "etc/reconciler/policy.yaml").exists()
    said = builder.buildah(
        "run", "--isolation", "chroot", "made", "reconciler", "check", "/etc/reconciler/policy.yaml"
    )
    assert "valid, mode observe" in said


def test_the_image_holds_the_locked_wheels_and_no_installer(built: tuple[Path, Builder]) -> None:
    """What ships is what was locked: no pip, no compiler, no test tool, no path to a checkout."""
    packages = built[0] / "opt/reconciler/lib/python3.11/site-packages"
    names = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    assert "image_reconciler" in names
    assert not names & {"pip", "setuptools", "pytest", "mypy", "grpcio_tools", "hypothesis"}
    assert not list(packages.glob("__editable__*"))


async def test_the_pod_lives_with_no_capability_on_a_read_only_root(pod: Pod) -> None:
    """What the manifest takes away is not needed: it gets ready, keeps a ledger, ends 0."""
    name = "registry.example.com/app:v1"
    node = Node(CONTAINERD_2, 1 << 30, 0, mountpoint="/var/lib/containerd/snapshots")
    node.publish(name, [layer("app", MEBIBYTE)])
    node.pull(name, time.time())
    (pod.volume("images") / "snapshots").mkdir()
    (pod.volume("policy") / "policy.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: ImagePolicy\nminimumAge: 1s\n"
    )
    async with FakeRuntimeServer(node, str(pod.volume("runtime") / "containerd.sock")):
        await anyio.to_thread.run_sync(live_and_end, pod)
    assert (pod.volume("state") / "ledger.db").exists()
    assert [image.tags for image in node.images.values()] == [[name]]


async def test_the_pod_stands_by_while_a_process_of_the_host_removes(pod: Pod) -> None:
    """The systemd unit next to the DaemonSet: the pod's read-only mount is the same directory, also
    with no capability at all."""
    node = Node(CONTAINERD_2, 1 << 30, 0, mountpoint="/var/lib/containerd/snapshots")
    (pod.volume("images") / "snapshots").mkdir()
    (pod.volume("policy") / "policy.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: ImagePolicy\nmode: enforce\n"
    )
    async with FakeRuntimeServer(node, str(pod.volume("runtime") / "containerd.sock")):
        await anyio.to_thread.run_sync(stand_by_and_take_over, pod)


def stand_by_and_take_over(pod: Pod) -> None:
    """Ready while another process has the lock, and its successor when that one lets go."""
    with Lock() as lock:
        assert lock.take([pod.volume("images") / "snapshots"]) is None
        pod.start("127.0.0.1:0")
        who = pod.wait_for("standing-by")["detail"]
        assert f"(pid {os.getpid()}" in who
        address = pod.wait_for("starting")["listen"]
        until(lambda: ask(f"http://{address}/readyz") == 200, 30, f"not ready: {pod.lines()}")
    pod.wait_for("took-over")
    with Lock() as lock:
        assert lock.take([pod.volume("images") / "snapshots"]) is not None
    assert pod.stop() == 0, pod.lines()


def live_and_end(pod: Pod) -> None:
    """From the start through live and ready to SIGTERM."""
    pod.start("127.0.0.1:0")
    address = pod.wait_for("starting")["listen"]
    until(lambda: ask(f"http://{address}/readyz") == 200, 30, f"not ready: {pod.lines()}")
    assert ask(f"http://{address}/healthz") == 200
    assert pod.wait_for("policy-in-force")["source"] == "/etc/reconciler"
    explained = pod.command("explain", "app:v1", "--policy", "/etc/reconciler")
    assert explained.returncode == 0, explained.stderr
    assert pod.stop() == 0, pod.lines()


def ask(url: str) -> int:
    """The status of an answer; 0 for none."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0
