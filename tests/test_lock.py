"""One holder of a directory, whatever happens to processes, namespaces and directories."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.host.lock import Lock
from tests.programs import output_of

HOLDER = """
import sys
from reconciler.host.lock import Lock
with Lock() as lock:
    print(lock.take(sys.argv[1:]) or "held", flush=True)
    sys.stdin.read()
"""
ELSEWHERE = "another reconciler (in another container or namespace)"
root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and gives up rights, as root")


@contextlib.contextmanager
def another_process(*folders: Path, inside: tuple[str, ...] = ()) -> Iterator[int]:
    """The pid of a process that holds the lock until it is killed or told to end; `inside` is the
    command that starts it in namespaces of its own."""
    command = [*inside, sys.executable, "-c", HOLDER, *map(str, folders)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder.pid
        holder.stdin.close()


def answer(*folders: Path) -> str | None:
    """What a newcomer is told."""
    with Lock() as lock:
        return lock.take(folders)


def test_a_second_one_is_refused_and_told_whose_the_lock_is(tmp_path: Path) -> None:
    """By its pid and what was typed, so that an operator can find it."""
    with another_process(tmp_path) as pid:
        told = answer(tmp_path)
    assert told is not None
    assert told.startswith(f"another reconciler (pid {pid}: {sys.executable} -c")
    assert len(told) < 200
    assert "\n" not in told


def test_the_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    """kill -9 leaves no lock behind, and no file that could say so."""
    with another_process(tmp_path) as pid:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert answer(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_lock_given_back_can_be_taken_again(tmp_path: Path) -> None:
    """Also within one process, and after a failure inside."""
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError), Lock() as lock:
            assert lock.take([tmp_path]) is None
            assert lock.take([tmp_path]) is None
            assert f"pid {os.getpid()}" in str(answer(tmp_path))
            raise ZeroDivisionError
    with Lock() as lock:
        lock.take([tmp_path])
        lock.release()
        assert answer(tmp_path) is None


def test_of_several_directories_all_are_held_or_none(tmp_path: Path) -> None:
    """containerd 2.x has a filesystem for each snapshotter: two removers that hold one each would
    both wait, or both remove."""
    first, second, third = folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    with another_process(second) as pid, Lock() as lock:
        assert f"pid {pid}" in str(lock.take(folders))
        assert answer(first, third) is None
        assert lock.take([first, third]) is None
        assert f"pid {pid}" in str(lock.take(folders))
        assert answer(first, third) is None
    with Lock() as lock:
        assert lock.take(folders) is None
        assert answer(third) is not None
        assert lock.take([first]) is None
        assert answer(second, third) is None
        assert answer(first) is not None


def test_one_directory_by_two_names_is_one(tmp_path: Path) -> None:
    """A daemon must not stand in its own way."""
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "images")
    with Lock() as lock:
        assert lock.take([tmp_path / "images", tmp_path / "link", tmp_path / "images"]) is None
        assert lock.take([tmp_path / "link"]) is None
        assert answer(tmp_path / "images") is not None


def test_a_directory_that_is_made_anew_is_locked_anew(tmp_path: Path) -> None:
    """Somebody cleans up: the next second remover is refused all the same."""
    folder = tmp_path / "state"
    folder.mkdir()
    with Lock() as lock:
        assert lock.take([folder]) is None
        folder.rename(tmp_path / "aside")
        folder.mkdir()
        assert lock.take([folder]) is None
        assert f"pid {os.getpid()}" in str(answer(folder))
        assert answer(tmp_path / "aside") is None


def test_two_do_not_go_on_after_a_directory_was_made_anew(tmp_path: Path) -> None:
    """Another process was faster on the new directory: ours holds nothing any more."""
    folder, other = tmp_path / "images", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    with Lock() as lock:
        assert lock.take([folder, other]) is None
        shutil.rmtree(folder)
        folder.mkdir()
        with another_process(folder) as pid:
            assert f"pid {pid}" in str(lock.take([folder, other]))
            assert answer(other) is None
        assert lock.take([folder, other]) is None


def test_a_directory_that_is_gone_is_told_and_what_is_held_stays_held(tmp_path: Path) -> None:
    """Nobody else can have a lock there either; the rest must not be given away for it."""
    folder, other = tmp_path / "images", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    with Lock() as lock:
        assert lock.take([folder, other]) is None
        folder.rename(tmp_path / "aside")
        with pytest.raises(FileNotFoundError, match=str(folder)):
            lock.take([folder, other])
        assert answer(other) is not None
        (tmp_path / "aside").rename(folder)
        assert lock.take([folder, other]) is None
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError), Lock() as lock:
        lock.take([tmp_path / "file"])


UNPRIVILEGED = """
import os, sys
from reconciler.host.lock import Lock
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for folder in sys.argv[1:]:
    try:
        with Lock() as lock:
            print(lock.take([folder]) or "held")
    except OSError as error:
        print(error.strerror)
"""


@root
def test_a_directory_that_can_not_be_written_can_be_locked() -> None:
    """Reading is enough, as a read-only disk gives it; less is told as what it is."""
    folder = Path("/tmp") / f"reconciler-lock-{os.getpid()}"
    (folder / "secret").mkdir(parents=True)
    (folder / "secret").chmod(0o700)
    run = [sys.executable, "-c", UNPRIVILEGED, str(folder), str(folder / "secret")]
    try:
        out = output_of(run)
        with Lock() as lock:
            lock.take([folder])
            again = output_of(run[:4])
    finally:
        shutil.rmtree(folder)
    assert out.splitlines() == ["held", "Permission denied"]
    assert f"(pid {os.getpid()}: " in again


@root
def test_a_read_only_mount_in_a_container_is_the_same_directory(tmp_path: Path) -> None:
    """The DaemonSet mounts the image filesystem read-only in a mount namespace of its own, the
    systemd unit has it as it is: one of them removes."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    inside = ("unshare", "--mount", "sh", "-c", mount, str(tmp_path))
    with another_process(tmp_path, inside=inside) as pid:
        assert f"(pid {pid}: " in str(answer(tmp_path))
    with Lock() as lock:
        lock.take([tmp_path])
        command = [*inside, sys.executable, "-c", HOLDER, str(tmp_path)]
        seen = output_of(command, input="")
    assert f"(pid {os.getpid()}: " in seen
    assert answer(tmp_path) is None


@contextlib.contextmanager
def mounted(folder: Path, *flags: str) -> Iterator[Path]:
    """A filesystem of its own at a folder."""
    folder.mkdir()
    output_of(["mount", *flags, str(folder)])
    try:
        yield folder
    finally:
        output_of(["umount", str(folder)])


@root
def test_of_two_filesystems_the_holder_of_the_right_one_is_named(tmp_path: Path) -> None:
    """Inodes have the same numbers on every disk: beside two runtimes the one that was named
    removed on the other's disk."""
    tmpfs = ("-t", "tmpfs", "tmpfs")
    with mounted(tmp_path / "one", *tmpfs) as one, mounted(tmp_path / "two", *tmpfs) as two:
        assert one.stat().st_ino == two.stat().st_ino
        with another_process(one) as first, another_process(two) as second:
            assert f"(pid {first}: " in str(answer(one))
            assert f"(pid {second}: " in str(answer(two))


@root
def test_a_process_that_can_not_be_seen_from_here_is_told_as_such(tmp_path: Path) -> None:
    """In a pod, /proc tells of the pod's own processes; the lock holds all the same."""
    inside = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    with Lock() as lock:
        lock.take([tmp_path])
        command = [*inside, sys.executable, "-c", HOLDER, str(tmp_path)]
        seen = output_of(command, input="")
    assert seen == f"{ELSEWHERE}\n"
