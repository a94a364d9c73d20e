"""Standard streams that lead nowhere: a full disk, a reader that is gone, or closed."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
import pytest_asyncio

from reconciler.fake_runtime.habits import CONTAINERD_2
from tests.builders import HANGS

from .test_run import Daemon, _get, made

UNUSED = 4  # images on the node


@pytest.fixture(autouse=True)
def _buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is for users, whatever this machine's environment says."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


@pytest_asyncio.fixture
async def daemon() -> AsyncIterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="streams-") as folder:
        yield made(folder, CONTAINERD_2)


def flags(daemon: Daemon) -> list[str]:
    named = ["-r", str(daemon.socket), "--policy", str(daemon.policy)]
    return [*named, "--state-dir", str(daemon.folder / "state")]


async def start(*typed: str, stdout: int = DEVNULL, stderr: int = DEVNULL) -> Process:
    command = [sys.executable, "-m", "reconciler", *typed]
    return await asyncio.create_subprocess_exec(*command, stdout=stdout, stderr=stderr)


@asynccontextmanager
async def running(daemon: Daemon, stderr: int) -> AsyncIterator[None]:
    """`run` with this stderr, from its start to SIGTERM, after which it must end with 0."""
    typed = ["run", *flags(daemon), "--listen", "127.0.0.1:0", "--log-format", "json"]
    async with ending(await start(*typed, stderr=stderr)):
        yield


@asynccontextmanager
async def ending(process: Process) -> AsyncIterator[None]:
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), HANGS) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def last_removal(daemon: Daemon, after: asyncio.Event | None = None) -> asyncio.Event:
    """Set once the runtime is asked to remove the last image that nobody uses. It removes nothing
    before `after`."""
    last, asked = asyncio.Event(), itertools.count(1)

    async def removal(request: Any) -> None:
        if after is not None:
            await after.wait()
        if next(asked) == UNUSED:
            last.set()

    daemon.runtime.faults["RemoveImage"] = removal
    return last


async def test_a_daemon_whose_log_is_on_a_full_disk_makes_room(daemon: Daemon) -> None:
    """It ended with its first line, without a word: on the very node that it was needed on."""
    last, full = last_removal(daemon), os.open("/dev/full", os.O_WRONLY)
    async with daemon.runtime, running(daemon, full):
        os.close(full)
        await asyncio.wait_for(last.wait(), HANGS)
    assert daemon.left() == ["used:v1"]


async def test_a_daemon_whose_log_nobody_reads_any_more_goes_on(daemon: Daemon) -> None:
    """The collector of its lines was restarted: what it can't have is lost, and counted."""
    closed = asyncio.Event()
    last = last_removal(daemon, after=closed)
    read, write = os.pipe()
    async with daemon.runtime, running(daemon, write):
        os.close(write)
        with os.fdopen(read) as log:
            first = json.loads(await anyio.to_thread.run_sync(log.readline))
        closed.set()
        await asyncio.wait_for(last.wait(), HANGS)
        _, metrics = await anyio.to_thread.run_sync(_get, f"http://{first['listen']}/metrics")
    (lost,) = re.findall(r"^reconciler_log_lines_lost_total (\S+)$", metrics, re.M)
    assert float(lost) >= 1
    assert daemon.left() == ["used:v1"]


async def test_a_daemon_that_is_started_with_all_streams_closed_does_its_job(
    daemon: Daemon,
) -> None:
    """Some supervisors start a service like that."""
    typed = ["run", *flags(daemon), "--listen", "127.0.0.1:0"]
    last = last_removal(daemon)
    async with daemon.runtime, ending(await started_closed(typed)):
        await asyncio.wait_for(last.wait(), HANGS)
    assert daemon.left() == ["used:v1"]


async def started_closed(typed: list[str]) -> Process:
    script = 'exec "$0" -m reconciler "$@" <&- >&- 2>&-'
    return await asyncio.create_subprocess_exec("sh", "-c", script, sys.executable, *typed)


COMMANDS = {
    "check POLICY": 0,
    "history": 0,
    "completion bash": 0,
    "plan -r /none.sock": 3,
    "top --listen 127.0.0.1:1": 1,
    "demo --plain --seconds 1": 0,
}
CLOSED = [">&-", "2>&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_with_a_closed_stream_ends_as_with_any_other(
    line: str, closed: str, tmp_path: Path
) -> None:
    """It ended in a traceback, or its errors were in the output that a program reads."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("apiVersion: reconciler/v1\nkind: ImagePolicy\n")
    command, *more = line.replace("POLICY", str(policy)).split()
    if command in {"history", "top", "plan"}:
        more += ["--state-dir", str(tmp_path)]
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m reconciler "$@" {closed}', sys.executable, command, *more],
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert done.returncode == COMMANDS[line], done.stderr
    assert "Traceback" not in done.stderr
    assert "error:" not in done.stdout


@pytest.mark.parametrize(("line", "code"), [("plan -r /none.sock", 3), ("plan -r http://none", 2)])
def test_a_command_whose_errors_cant_be_written_fails_with_its_own_code(
    line: str, code: int, tmp_path: Path
) -> None:
    """A script that reads the code alone still learns what happened."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *line.split(), "--state-dir", str(tmp_path)],
            stdout=subprocess.DEVNULL,
            stderr=full,
            timeout=HANGS,
            check=False,
        )
    assert done.returncode == code


def test_a_demo_on_a_full_disk_is_one_line() -> None:
    """It ended in a traceback, or blamed the folder of its files."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", "demo", "--plain", "--seconds", "50"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=HANGS,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


PRUNE = ("prune", "--all-unused", "--minimum-age", "0s")


async def test_a_prune_that_is_cut_short_by_its_reader_is_not_done(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`reconciler prune | head -1` left most of the images, and its code was that of success."""
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # each line is written at once
    closed = asyncio.Event()

    async def all_but_the_first(request: Any) -> None:
        if len(daemon.left()) <= UNUSED:
            await closed.wait()

    daemon.runtime.faults["RemoveImage"] = all_but_the_first
    read, write = os.pipe()
    async with daemon.runtime:
        process = await start(*PRUNE, *flags(daemon), stdout=write)
        os.close(write)
        with os.fdopen(read) as out:
            assert (await anyio.to_thread.run_sync(out.readline)).startswith("removed")
        closed.set()
        assert await asyncio.wait_for(process.wait(), HANGS) == 1
    assert len(daemon.left()) > 1


async def test_a_prune_that_is_done_before_its_reader_goes_is_done(daemon: Daemon) -> None:
    """Only the report of it was not read."""
    read, write = os.pipe()
    os.close(read)
    async with daemon.runtime:
        process = await start(*PRUNE, *flags(daemon), stdout=write)
        os.close(write)
        assert await asyncio.wait_for(process.wait(), HANGS) == 0
    assert daemon.left() == ["used:v1"]
