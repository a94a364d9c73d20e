"""One real containerd of a given major on a filesystem of its own: started, stopped, killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from tests.programs import output_of
from tests.workload import Workload

from .debs import unpacked
from .disk import mount_new
from .images import MEBIBYTE, Registry, until

SUITES = {"1.6": "bookworm", "1.7": "trixie", "2.x": "sid"}

CONFIG_2 = """version = 3
root = "{root}"
state = "{state}"
[grpc]
  address = "{socket}"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{pause}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.nri.v1.nri']
  disable = true  # its socket is one for the whole machine, and others start side by side
"""
CONFIG_1 = """version = 2
root = "{root}"
state = "{state}"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
[plugins."io.containerd.nri.v1.nri"]
  disable = true
"""


class Containerd:
    """A node: containerd with its data on a loop-mounted filesystem of a `kind` and `size` (bytes),
    with `inodes` inodes (by default as many as mkfs makes)."""

    def __init__(
        self,
        major: str,
        registry: Registry,
        size: int = 1024 * MEBIBYTE,
        inodes: int | None = None,
        kind: str = "ext4",
    ) -> None:
        self.major, self.registry = major, registry
        self._size, self._inodes, self._kind = size, inodes, kind
        self._bin = unpacked(SUITES[major], "containerd") / "usr/bin"
        # Short: a unix socket's path has room for about 100 characters.
        self.home = Path(tempfile.mkdtemp(prefix="rc", dir="/tmp"))
        self.disk = self.home / "disk"
        self.socket = self.home / "c.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.workload = Workload(str(self.socket))

    @property
    def endpoint(self) -> str:
        return f"unix://{self.socket}"

    @property
    def has_events(self) -> bool:
        return self.major != "1.6"

    @property
    def has_image_volumes(self) -> bool:
        return self.major == "2.x"

    def __enter__(self) -> Self:
        try:
            mount_new(self._kind, self._size, self.disk, self._inodes)
            self._write_config()
            self.start()
        except BaseException:
            self._take_down()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._take_down()

    def start(self) -> None:
        """Starts it and waits until it answers, at most 30 s."""
        path = f"{self._bin}:{os.environ['PATH']}:/usr/sbin:/sbin"
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "containerd"), "--config", str(self.home / "config.toml")],
                env={"PATH": path, "HOME": str(self.home)},
                stdout=log,
                stderr=log,
            )
        until(self.workload.answers, 30, self._mute)

    def stop(self) -> None:
        """SIGTERM; containers live on."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9; containers live on."""
        self._end(signal.SIGKILL)

    def log(self) -> str:
        """The last lines of its log."""
        text = (self.home / "log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-20:])

    def used_bytes(self) -> int:
        """In use on its filesystem, as the operator's contract counts it."""
        found = os.statvfs(self.disk)
        return (found.f_blocks - found.f_bavail) * found.f_frsize

    def capacity(self) -> int:
        found = os.statvfs(self.disk)
        return found.f_blocks * found.f_frsize

    def inodes(self) -> tuple[int, int]:
        """Inodes in use and in all, as the operator's contract counts them."""
        found = os.statvfs(self.disk)
        return found.f_files - found.f_favail, found.f_files

    def fill(self, size: int) -> None:
        """Fills the same filesystem by a file of `size` bytes that is no image's, until `clean`."""
        with (self.disk / "other").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)

    def ctr(self, *arguments: str) -> str:
        """What `ctr` of this containerd prints for a command in the namespace of CRI."""
        command = [str(self._bin / "ctr"), "-a", str(self.socket), "-n", "k8s.io", *arguments]
        return output_of(command)

    def export(self, name: str, archive: Path) -> None:
        """Writes an image to an archive. Without `--local`, which 1.6 does not know, `ctr` of 2.x
        ends with 0 before the end of the archive is written (our measurement,
        docs/runtimes.md)."""
        local = [] if self.major == "1.6" else ["--local"]
        self.ctr("images", "export", *local, str(archive), name)

    def clean(self) -> None:
        """Removes all pods and images, and brings it up again if a story left it down."""
        (self.disk / "other").unlink(missing_ok=True)
        if self._process is None:
            self.start()
        self.workload.remove_all()
        self._remove_left()

    def _remove_left(self) -> None:
        """CRI takes the tag of an image that ctr imported and leaves it under the name that ctr
        made, which the next story would find. CRI notices only at its start that it is gone."""
        left = self.ctr("images", "ls", "-q").split()
        if left:
            self.ctr("images", "rm", "--sync", *left)
            self.stop()
            self.start()

    def _write_config(self) -> None:
        text = CONFIG_2 if self.major == "2.x" else CONFIG_1
        values = {
            "root": self.disk / "root",
            "state": self.home / "state",
            "socket": self.socket,
            "pause": f"{self.registry.address}/pause:3.10",
        }
        (self.home / "config.toml").write_text(text.format(**values))

    def _mute(self) -> str:
        return f"containerd {self.major} does not answer: {self.log()}"

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(30)
        self._process = None

    def _take_down(self) -> None:
        """Pods first, since shims outlive containerd; then all that was started from here."""
        if self._process is not None:
            with contextlib.suppress(grpc.RpcError):  # a story left it broken: shims end below
                self.workload.remove_all()
            self.stop()
        self.workload.close()
        for pid in self._shims():
            os.kill(pid, signal.SIGKILL)
        for mount in self._mounts():
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def _shims(self) -> list[int]:
        """Shims of this containerd and no other: they carry its socket in their arguments."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments = entry.read_bytes()
            except OSError:
                continue
            if b"containerd-shim" in arguments and str(self.home).encode() in arguments:
                found.append(int(entry.parent.name))
        return found

    def _mounts(self) -> list[str]:
        lines = Path("/proc/mounts").read_text().splitlines()
        mounts = [line.split()[1] for line in lines]
        return sorted((m for m in mounts if m.startswith(str(self.home))), reverse=True)
