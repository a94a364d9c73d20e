"""What the daemon opens, writes, listens on and connects to, while it does its whole job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from reconciler.fake_runtime.habits import CONTAINERD_2
from reconciler.fake_runtime.images import layer
from reconciler.fake_runtime.node import Node
from reconciler.fake_runtime.server import FakeRuntimeServer
from tests.builders import HANGS

POLICY = """apiVersion: reconciler/v1
kind: ImagePolicy
mode: enforce
maximumUnusedAge: 1s
minimumAge: 0s
"""
# Python's own audit hooks report every file it opens, process it starts and address it uses; /proc
# shows what native code holds open.
WATCHED = """
import json, os, sys
audit = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND)
def hook(event, args):
    if event in ("open", "os.remove", "os.rename", "os.mkdir", "subprocess.Popen", "os.exec",
                 "socket.bind", "socket.connect", "sqlite3.connect", "os.chmod", "os.chown",
                 "os.symlink", "os.link", "os.truncate", "os.fork", "os.posix_spawn"):
        os.write(audit, (json.dumps([event, [repr(one) if not isinstance(one, (str, int)) else one
                                            for one in args]]) + "\\n").encode())
sys.addaudithook(hook)
from reconciler.cli.main import main
sys.exit(main())
"""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watched:
    """The daemon with the hook, from start to SIGTERM."""

    def __init__(self, folder: Path, socket: Path) -> None:
        self.folder, self.audit = folder, folder / "audit"
        self.audit.touch()
        (folder / "policy.yaml").write_text(POLICY)
        flags = ["-r", str(socket), "--policy", str(folder / "policy.yaml")]
        flags += ["--state-dir", str(folder / "state"), "--listen", "127.0.0.1:0"]
        command = [sys.executable, "-c", WATCHED, str(self.audit), "run", *flags]
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=Path(__file__).parents[2]
            )

    def events(self) -> Iterator[tuple[str, list[object]]]:
        for line in self.audit.read_text().splitlines():
            event, arguments = json.loads(line)
            yield event, arguments

    def listening(self) -> set[str]:
        """The addresses it listens on, as the kernel writes them (hexadecimal)."""
        inodes = {
            os.readlink(file).removeprefix("socket:[").removesuffix("]")
            for file in Path(f"/proc/{self.process.pid}/fd").iterdir()
            if os.readlink(file).startswith("socket:")
        }
        found = set()
        for family in ("tcp", "tcp6", "udp", "udp6"):
            for line in Path(f"/proc/{self.process.pid}/net/{family}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[9] in inodes and (fields[3] == "0A" or family.startswith("udp")):
                    found.add(fields[1].partition(":")[0])
        return found


async def until(condition: Callable[[], bool]) -> None:
    """Waits until the condition holds; TimeoutError after HANGS seconds."""
    with anyio.fail_after(HANGS):
        while True:
            if condition():
                return
            await anyio.sleep(0.05)


@pytest.fixture
async def whole_job(tmp_path: Path, unmeasured: None) -> Watched:
    """The daemon after it has listed, removed an image, and read an edit; ended by SIGTERM."""
    node = Node(CONTAINERD_2, mountpoint=str(tmp_path))
    node.publish("reg.example/app:v1", [layer("app", 1 << 42)])
    node.pull("reg.example/app:v1", 1_700_000_000.0)
    socket = tmp_path / "c.sock"
    async with FakeRuntimeServer(node, str(socket)):
        daemon = Watched(tmp_path, socket)
        try:
            await until(lambda: not any(one.tags for one in node.images.values()))
            (tmp_path / "policy.yaml").write_text(POLICY + "minimumSize: 2Mi\n")
            await until(lambda: (tmp_path / "log").read_text().count("policy-in-force") == 2)
            assert daemon.listening() == {"0100007F"}, "anything but 127.0.0.1"
        finally:
            daemon.process.terminate()
            code = await anyio.to_thread.run_sync(daemon.process.wait, 30)
    assert code == 0, (tmp_path / "log").read_text()
    return daemon


async def test_the_daemon_writes_in_its_state_directory_alone(whole_job: Watched) -> None:
    """Its whole job done, nothing outside was created, changed, renamed or removed."""
    written: set[str] = set()
    for event, arguments in whole_job.events():
        if event == "open":
            path, mode, flags = arguments[:3]
            writing = isinstance(flags, int) and flags & WRITES
            if writing or (isinstance(mode, str) and set(mode) & set("wax+")):
                written.add(str(path))
        elif event in ("os.remove", "os.mkdir", "os.truncate", "os.chmod", "os.chown"):
            written.add(str(arguments[0]))
        elif event in ("os.rename", "os.symlink", "os.link"):
            written.update(map(str, arguments[:2]))
    state = str(whole_job.folder / "state")
    assert {path for path in written if not path.startswith(state)} <= {"/dev/null"}
    assert written


async def test_the_daemon_starts_no_process_and_talks_to_nobody_else(whole_job: Watched) -> None:
    """One listening address, no child, no connection but gRPC's own to the runtime's socket."""
    found: dict[str, list[list[object]]] = defaultdict(list)
    for event, arguments in whole_job.events():
        found[event].append(arguments)
    for never in ("subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "socket.connect"):
        assert found[never] == []
    assert [arguments[1] for arguments in found["socket.bind"]] == ["('127.0.0.1', 0)"]
    state = str(whole_job.folder / "state")
    bases = [str(arguments[0]) for arguments in found["sqlite3.connect"]]
    assert bases
    assert all(state in base for base in bases)
