"""Where the node lives: namespaces and cgroups of its own, made from outside, furnished inside.

PID 1 inside is a Python of ours. When it ends, however it does, the kernel
ends everything that was started in there and takes away the mounts and networks with it; what is
left to do outside is to remove the empty cgroups and one folder. If the process outside ends,
however it does, PID 1 is killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .build import CACHE

NODE = "10.250.0.1"  # the node's address: the bridge that all pods are on
SERVICE = "10.96.0.1"  # the API server's address as a service, which pods are given
PODS = "10.250.0.0/16"
DISK = 1536 << 20  # bytes of the image filesystem
IMAGES = Path("/var/lib/containerd")
CGROUPS = Path("/sys/fs/cgroup")
# kubelet wants these, and they are the whole machine's: it is shown files that say so already.
WANTED = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def hierarchies() -> dict[str, str]:
    """The controllers of cgroup v1 on this machine, by mountpoint, each with its mount options."""
    found = {}
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup":
            kept = [one for one in options.split(",") if one not in {"rw", "relatime"}]
            found[place] = ",".join(one for one in kept if not one.startswith("no"))
    return found


def run_inside(arguments: Sequence[str], longest: float) -> int:
    """Runs `python -m tests.cluster.inside HOME ARGUMENTS` as PID 1 of a new sandbox; its exit
    code, or 124 after `longest` seconds."""
    home = Path(tempfile.mkdtemp(prefix="rc", dir="/tmp"))
    with _cgroups(f"reconciler-{home.name}") as folders:
        spaces = ["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--mount-proc"]
        program = [sys.executable, "-m", "tests.cluster.inside", str(home), *arguments]
        join = "".join(f"echo $$ > {folder}/cgroup.procs\n" for folder in folders)
        enter = ["setpriv", "--pdeathsig", "KILL", "sh", "-ec", f'{join}exec "$@"', "sh"]
        # A session of its own: Ctrl-C is for the process outside, which then ends this one.
        process = subprocess.Popen(
            [*enter, "unshare", *spaces, "--fork", "--kill-child", *program],
            start_new_session=True,
        )
        try:
            return process.wait(longest)
        except subprocess.TimeoutExpired:
            print(f"not done in {longest:.0f} s: given up", file=sys.stderr)
            return 124
        finally:
            process.kill()  # does nothing where it has ended; else PID 1 ends, and all with it
            process.wait()
            _gone(folders)
            _keep(home / "logs")
            shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _cgroups(name: str) -> Iterator[list[Path]]:
    """A group in every hierarchy, which the sandbox takes for the root."""
    folders = [Path(place) / name for place in hierarchies()]
    try:
        for folder in folders:
            folder.mkdir()
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (folder / file).exists():  # empty in a new group, and nothing can run in it
                    (folder / file).write_text((folder.parent / file).read_text())
        yield folders
    finally:
        for folder in folders:
            _remove_group(folder)


def _gone(folders: list[Path], seconds: float = 20.0) -> None:
    """Waits until nothing runs in these groups any more: PID 1 is gone first, the others follow."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(_inhabited(folder) for folder in folders):
        time.sleep(0.05)


def _inhabited(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return any(one.read_text().strip() for one in folder.rglob("cgroup.procs"))
    return False


def _keep(logs: Path) -> None:
    """Keeps the logs of the last run, to find out why it failed."""
    if logs.exists():
        shutil.rmtree(CACHE / "logs", ignore_errors=True)
        shutil.copytree(logs, CACHE / "logs")


def _remove_group(folder: Path) -> None:
    """A group and those in it, the deepest first; a group's files can't be removed."""
    for _ in range(50):
        for inner, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):
                Path(inner).rmdir()
        if not folder.exists():
            return
        time.sleep(0.1)


# --- inside ------------------------------------------------------------------------------------


def furnish(home: Path) -> None:
    """Mounts and network of the node; only PID 1 of a sandbox may call it."""
    assert os.getpid() == 1, "this would change the machine"
    _mount("--make-rshared", "/")  # kubelet's pods are to see what is mounted later
    upper = home / "upper"
    upper.mkdir()
    _mount("-t", "tmpfs", "-o", "size=8g", "tmpfs", str(upper))
    for name in ("etc", "opt", "var"):
        (upper / name).mkdir()
        (upper / f"{name}.work").mkdir()
        layers = f"lowerdir=/{name},upperdir={upper}/{name},workdir={upper}/{name}.work"
        _mount("-t", "overlay", "-o", layers, "overlay", f"/{name}")
    _mount("-t", "tmpfs", "tmpfs", "/run")
    controllers = hierarchies()
    _mount("-t", "sysfs", "sysfs", "/sys")
    _mount("-t", "tmpfs", "tmpfs", str(CGROUPS))
    for place, options in controllers.items():
        Path(place).mkdir()
        _mount("-t", "cgroup", "-o", options, "cgroup", place)
    for name, value in WANTED.items():
        shown = upper / name.replace("/", ".")
        shown.write_text(f"{value}\n")
        _mount("--bind", str(shown), f"/proc/sys/{name}")
    _make_disk(home / "disk.img")
    _make_network()
    Path("/etc/hostname").write_text("node1\n")
    subprocess.run(["hostname", "node1"], check=True)


def _make_disk(image: Path) -> None:
    with image.open("wb") as file:
        file.truncate(DISK)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
    IMAGES.mkdir(parents=True, exist_ok=True)
    _mount("-o", "loop", str(image), str(IMAGES))


def _make_network() -> None:
    """Loopback, and the bridge with the node's address and that of the API server's service:
    pods reach both with nothing in between, so no kube-proxy is needed."""
    for words in (
        "link set lo up",
        "link add cni0 address 0a:58:0a:fa:00:01 type bridge",
        f"addr add {NODE}/16 dev cni0",
        f"addr add {SERVICE}/32 dev cni0",
        "link set cni0 up",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def as_first_process(work: Callable[[], int]) -> int:
    """Has a child do the work, and reaps all other processes that end, as a PID 1 has to: the
    shims of containers have no parent. Returns the work's exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)
