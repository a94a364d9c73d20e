"""`reconciler run` as a process: what it waits for, what it survives, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import pytest_asyncio

from reconciler import __version__
from reconciler.fake_runtime.habits import CONTAINERD_1_6, CONTAINERD_2, CRIO_EVENTS_OFF, Habits
from reconciler.fake_runtime.node import Node, layer
from reconciler.fake_runtime.server import FakeRuntimeServer
from reconciler.store.ledger import Ledger
from tests.builders import GIB, HANGS

# The disk is this machine's own, and no removal changes it: everything that may go goes, however
# full it is.
POLICY = """\
apiVersion: reconciler/v1
kind: ImagePolicy
mode: enforce
maximumUnusedAge: 1s
minimumAge: 0s
"""
LONG_AGO = 1_700_000_000.0


class Daemon:
    """The process, its log as values, and the node that it lives on."""

    def __init__(self, folder: Path, node: Node) -> None:
        self.folder, self.node = folder, node
        self.socket, self.policy = folder / "cri.sock", folder / "policy.yaml"
        self.policy.write_text(POLICY)
        self.runtime = FakeRuntimeServer(node, str(self.socket))
        self.lines: list[dict[str, Any]] = []
        self.process: Process | None = None
        self.code = 0  # what the process must end with
        self._line_read = asyncio.Event()

    async def status(self, ready: Callable[[Any], bool]) -> Any:
        """Its status, once it is `ready`."""
        for _ in range(200):
            status = json.loads((await self.ask("/api/v1/status"))[1])
            if ready(status):
                return status
            await anyio.sleep(0.2)
        raise AssertionError(f"it did not happen: {status}")

    def kill(self) -> None:
        assert self.process is not None
        self.code = -signal.SIGKILL
        self.process.kill()

    @asynccontextmanager
    async def running(self, *flags: str, **environment: str) -> AsyncIterator[None]:
        """From its start to SIGTERM, after which it must end with 0."""
        typed = ["run", "-r", str(self.socket), "--policy", str(self.policy)]
        typed += ["--state-dir", str(self.folder / "state"), "--listen", "127.0.0.1:0"]
        self.process = await start(*typed, "--log-format", "json", *flags, **environment)
        reading = asyncio.create_task(self._read(self.process))
        try:
            yield
            if self.process.returncode is None:
                self.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(self.process.wait(), HANGS) == self.code, self.lines
            assert not [one for one in self.lines if one["event"] == "unreadable"], self.lines
        finally:
            if self.process.returncode is None:
                self.process.kill()
                await self.process.wait()
            await reading

    async def _read(self, process: Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"event": "unreadable", "line": line.decode()})
            self._line_read.set()

    async def logged(self, event: str, count: int = 1) -> dict[str, Any]:
        """Waits until the log has `count` lines of an event, and returns the last of them."""
        with anyio.fail_after(HANGS):
            while True:
                found = [one for one in self.lines if one["event"] == event]
                if len(found) >= count:
                    return found[count - 1]
                self._line_read.clear()
                await self._line_read.wait()

    async def ask(self, path: str) -> tuple[int, str]:
        """One GET at the address in the log."""
        address = (await self.logged("starting"))["listen"]
        return await anyio.to_thread.run_sync(_get, f"http://{address}{path}")

    def left(self) -> list[str]:
        tags = [tag for image in self.node.images.values() for tag in image.tags]
        return sorted(t.removeprefix("reg.example/") for t in tags if "pause" not in t)


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status), str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def start(*typed: str, **more: str) -> Process:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CONTAINER_RUNTIME")}
    environment |= more
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "reconciler", *typed, stdout=PIPE, stderr=PIPE, env=environment
    )


async def ended(*typed: str) -> tuple[int, str, str]:
    """A command that ends by itself: its code, and both its outputs."""
    process = await start(*typed)
    out, err = await asyncio.wait_for(process.communicate(), HANGS)
    assert b"Traceback" not in err
    return process.returncode or 0, out.decode(), err.decode()


def made(folder: str, habits: Habits) -> Daemon:
    """Four images that nobody uses, so big that they could empty any disk, and one in use."""
    node = Node(habits, mountpoint=folder)
    for name in ("app0:v1", "app1:v1", "app2:v1", "app3:v1", "used:v1"):
        node.publish(f"reg.example/{name}", [layer(name, 1000 * GIB)])
        node.pull(f"reg.example/{name}", LONG_AGO)
    pod = node.run_pod("pod", LONG_AGO)
    node.create(pod.id, "reg.example/used:v1", LONG_AGO)
    return Daemon(Path(folder), node)


@pytest_asyncio.fixture
async def daemon() -> AsyncIterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="run-") as folder:
        yield made(folder, CONTAINERD_2)


async def test_it_waits_for_a_runtime_that_is_not_there_yet(daemon: Daemon) -> None:
    """Healthy and not ready, with the reason; when the runtime comes, the job is done."""
    async with daemon.running():
        await daemon.logged("listing-failed")
        assert (await daemon.ask("/healthz"))[0] == 200
        code, why = await daemon.ask("/readyz")
        assert code == 503
        assert "no complete listing yet" in why
        async with daemon.runtime:
            await daemon.logged("removed", 4)
            assert daemon.left() == ["used:v1"]
            assert (await daemon.ask("/readyz"))[0] == 200
    assert [one["event"] for one in daemon.lines if one["level"] == "error"] == []


async def test_it_stays_up_and_holds_on_a_bad_policy(daemon: Daemon) -> None:
    """The place of the fault is logged; the good edit that follows is in force at once, and a bad
    one after it leaves that in force."""
    daemon.policy.write_text(POLICY.replace("enforce", "enforced"))
    async with daemon.runtime, daemon.running():
        refused = await daemon.logged("policy-refused")
        assert f"{daemon.policy}:3:7" in refused["problem"]
        await daemon.logged("runtime")
        assert (await daemon.ask("/readyz"))[0] == 503
        assert len(daemon.left()) == 5
        daemon.policy.write_text(POLICY + 'exclusions: [{images: ["reg.example/app0:*"]}]\n')
        await daemon.logged("removed", 3)
        daemon.policy.write_text("")
        await daemon.logged("policy-refused", 2)
        assert daemon.left() == ["app0:v1", "used:v1"]
        assert (await daemon.ask("/readyz"))[0] == 200


GARBAGE = {
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + bytes(range(190)),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "an unknown version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "a bad length": b"POST /api/v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    "an endless header": b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    "half a request": b"GET / HT",
}


async def test_what_strangers_send_to_the_port_leaves_a_log_of_json(daemon: Daemon) -> None:
    """The HTTP library complained in lines of its own, which no collector of JSON could read.
    `running` asserts that every line is JSON, also with all that asyncio says when it is asked."""
    environment = {"PYTHONASYNCIODEBUG": "1", "PYTHONWARNINGS": "always"}
    async with daemon.runtime, daemon.running(**environment):
        host, _, port = str((await daemon.logged("starting"))["listen"]).rpartition(":")
        for sent in GARBAGE.values():
            reader, writer = await asyncio.open_connection(host, int(port))
            with contextlib.suppress(OSError):  # it may be refused before all of it is sent
                writer.write(sent)
                writer.write_eof()
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), HANGS)
            writer.close()
        assert (await daemon.ask("/healthz"))[0] == 200
        await daemon.logged("removed", 4)
    assert [one for one in daemon.lines if one["event"] == "unexpected-error"] == []


async def test_sigterm_in_a_removal_waits_for_it(daemon: Daemon) -> None:
    """A call cut short could leave records behind that nothing lists by name; and what became of
    it is logged before the end."""
    under_way, answer = asyncio.Event(), asyncio.Event()

    async def slow(request: Any) -> None:
        under_way.set()
        await answer.wait()

    daemon.runtime.faults["RemoveImage"] = slow
    async with daemon.runtime:
        async with daemon.running():
            await asyncio.wait_for(under_way.wait(), HANGS)
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGTERM)
            await daemon.logged("ending")
            assert daemon.process.returncode is None
            answer.set()
            await daemon.logged("removed")
        assert len(daemon.left()) == 4
        assert len(daemon.runtime.calls.removals) == 1


@pytest.mark.parametrize("habits", [CONTAINERD_1_6, CRIO_EVENTS_OFF], ids=["1.6", "cri-o"])
async def test_it_lives_on_listings_where_there_are_no_events(habits: Habits) -> None:
    """It says so once, and does the same job."""
    with tempfile.TemporaryDirectory(prefix="run-") as folder:
        daemon = made(folder, habits)
        async with daemon.runtime, daemon.running():
            absent = await daemon.logged("events-absent")
            assert "living on listings" in absent["detail"]
            await daemon.logged("removed", 4)
        assert "events-lost" not in [one["event"] for one in daemon.lines]
        assert daemon.left() == ["used:v1"]


async def test_observe_and_dry_run_remove_nothing(daemon: Daemon) -> None:
    """--dry-run is the brake on a policy that says enforce."""
    async with daemon.runtime, daemon.running("--dry-run", "--events", "off"):
        assert (await daemon.logged("would-remove"))["images"] >= 1
        assert "--events off" in (await daemon.logged("events-absent"))["detail"]
    assert len(daemon.left()) == 5


async def test_a_path_that_is_not_a_socket_is_logged_and_waited_for(daemon: Daemon) -> None:
    """A plain file at the path: the daemon names it and stays."""
    daemon.socket.write_text("no socket")
    async with daemon.running():
        trouble = await daemon.logged("listing-failed")
        assert str(daemon.socket) in trouble["detail"]
        assert (await daemon.ask("/healthz"))[0] == 200


async def test_what_keeps_it_from_starting_is_1_and_printed(daemon: Daemon) -> None:
    """Another process listens there; there is no place for its state."""
    async with daemon.running():
        address = (await daemon.logged("starting"))["listen"]
        other = ["--state-dir", str(daemon.folder / "other"), "-r", str(daemon.socket)]
        code, _, err = await ended("run", "--listen", str(address), *other)
        assert code == 1
        assert f"cannot listen on {address}" in err
    (daemon.folder / "file").write_text("")
    state = ["--state-dir", str(daemon.folder / "file"), "--listen", "127.0.0.1:0"]
    code, _, err = await ended("run", "-r", str(daemon.socket), *state)
    assert code == 1
    assert f"no state directory at {daemon.folder}/file" in err


KEEPS = 'exclusions: [{images: ["reg.example/app2:*", "reg.example/app3:*"]}]\n'


@pytest.mark.parametrize("state", ["state", "other"], ids=["one state directory", "two"])
async def test_of_two_daemons_on_one_runtime_one_removes_and_the_other_takes_over(
    daemon: Daemon, state: str
) -> None:
    """The DaemonSet next to the systemd unit: the second is ready and says who removes; `prune`
    says it too and ends with 1. When the first is killed the second removes, by the ledger of the
    first if they share it."""
    second = Daemon(daemon.folder, daemon.node)
    second.policy = daemon.policy.rename(daemon.folder / "second.yaml")
    daemon.policy.write_text(POLICY + KEEPS)
    flags = ["--state-dir", str(daemon.folder / state)]
    async with daemon.runtime, daemon.running():
        await daemon.logged("removed", 2)
        assert daemon.process is not None
        who = f"another reconciler (pid {daemon.process.pid}: {sys.executable} -m reconciler run"
        async with second.running(*flags):
            assert who in (await second.logged("standing-by"))["detail"]
            assert await second.ask("/readyz") == (200, "ok\n")
            status = await second.status(lambda status: status["hold"] is not None)
            assert status["hold"]["reason"] == "another-remover"
            assert not status["remover"]["this"]
            assert who in status["remover"]["other"]
            typed = ["-r", str(daemon.socket), "--policy", str(daemon.policy)]
            code, _, err = await ended("prune", *typed, "--state-dir", str(daemon.folder / "third"))
            assert (code, err.count("\n")) == (1, 1)
            assert who in err
            for command in (["plan"], ["explain", "app3:v1"]):
                assert who in (await ended(*command, *typed))[1]
            assert daemon.left() == ["app2:v1", "app3:v1", "used:v1"]
            daemon.kill()
            await second.logged("took-over")
            await second.logged("removed", 2)
            assert daemon.left() == ["used:v1"]
            assert "reconciler_remover 1.0" in (await second.ask("/metrics"))[1]
    assert not [one for one in second.lines if one["event"] == "ledger-trouble"]
    kept = Ledger.read(daemon.folder / state, time.time())
    assert len(kept.removals) == (4 if state == "state" else 2)


async def test_a_daemon_that_observes_is_in_nobodys_way(daemon: Daemon) -> None:
    """Tried out by hand with --dry-run, next to the one that removes."""
    trial = Daemon(daemon.folder, daemon.node)
    async with daemon.runtime, trial.running("--dry-run"):
        await trial.logged("would-remove")
        async with daemon.running():
            await daemon.logged("removed", 4)
        assert not [one for one in daemon.lines if one["event"] == "standing-by"]


async def test_the_version_and_the_help_need_nothing() -> None:
    """As `reconciler` and as `python -m reconciler`."""
    assert await ended("--version") == (0, f"reconciler {__version__}\n", "")
    code, out, _ = await ended("--help")
    assert code == 0
    assert "reconciler explain nginx:1.27" in out


async def test_a_pipe_that_is_closed_is_no_failure(daemon: Daemon) -> None:
    """`reconciler plan | head -1` ends with 0 on both sides, and nobody complains."""
    for number in range(2000):
        daemon.node.import_image(f"reg.example/many/{number}:v1", [layer(str(number), GIB)])
    line = f"{sys.executable} -m reconciler plan -r {daemon.socket} --state-dir {daemon.folder}"
    async with daemon.runtime:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", f"set -o pipefail; {line} | head -1", stdout=PIPE, stderr=PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), HANGS)
    assert (process.returncode, err) == (0, b"")
    assert out.count(b"\n") == 1


async def test_the_demo_runs_and_ends_well() -> None:
    """The real daemon on a simulated node, in plain lines, and no image in use was removed."""
    code, out, err = await ended("demo", "--seconds", "3", "--plain")
    assert (code, err) == (0, "")
    assert out
