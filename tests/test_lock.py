"""One remover per node, whatever happens to processes and directories."""

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

from reconciler.app import assemble, lost_lock
from reconciler.cri.client import open_client
from reconciler.lock import FILE, Lock, LockUnavailable
from reconciler.settings import Settings
from tests.builders import T0

HOLDER = """
import sys
from pathlib import Path
from reconciler.lock import Lock
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it is killed or told to end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


def refusal(folder: Path) -> str:
    with pytest.raises(LockUnavailable) as caught, Lock(folder):
        pass
    return str(caught.value)


def test_a_second_remover_is_refused_and_told_whose_the_lock_is(tmp_path: Path) -> None:
    """`prune` beside a running daemon names its pid and says what can be done instead."""
    with another_process(tmp_path) as holder:
        text = refusal(tmp_path)
    assert f"another reconciler (pid {holder.pid}) removes images here" in text
    assert "plan" in text


def test_the_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    """kill -9 leaves a pid file behind, and no lock."""
    with another_process(tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / FILE).read_text().strip() == str(holder.pid)
    with Lock(tmp_path):
        assert (tmp_path / FILE).read_text().strip() == str(os.getpid())


def test_a_lock_given_back_can_be_taken_again(tmp_path: Path) -> None:
    """Also within one process, and after a failure inside."""
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError), Lock(tmp_path):
            raise ZeroDivisionError
    with Lock(tmp_path), pytest.raises(LockUnavailable), Lock(tmp_path):
        pass


def test_a_pid_file_of_nonsense_does_no_harm(tmp_path: Path) -> None:
    """The kernel's lock counts, the file only tells whose it is."""
    (tmp_path / FILE).mkdir()
    with Lock(tmp_path):
        assert "(pid unknown)" in refusal(tmp_path)


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from reconciler.lock import Lock, LockUnavailable
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for folder in sys.argv[1:]:
    try:
        with Lock(Path(folder)):
            print("held")
    except LockUnavailable as error:
        print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root's rights to be refused")
def test_a_directory_that_can_not_be_written_can_be_locked() -> None:
    """A read-only disk is no reason for two removers; no directory at all is told."""
    folder = Path("/tmp") / f"reconciler-lock-{os.getpid()}"
    folder.mkdir()
    try:
        with Lock(folder):
            pass
        run = [sys.executable, "-c", UNPRIVILEGED, str(folder), str(folder / "none" / "here")]
        out = subprocess.run(run, check=True, capture_output=True, text=True).stdout.splitlines()
        with Lock(folder):
            again = subprocess.run(run[:4], check=True, capture_output=True, text=True).stdout
    finally:
        shutil.rmtree(folder)
    assert out[0] == "held"
    assert out[1] == (
        f"no state directory at {folder}/none/here: Permission denied; name one that can be made "
        "with --state-dir"
    )
    assert f"pid {os.getpid()}" in again


def test_a_file_in_the_directorys_place_is_told(tmp_path: Path) -> None:
    """A state directory that is none is the operator's to mend."""
    (tmp_path / "state").write_text("")
    assert "no state directory at" in refusal(tmp_path / "state")


def test_a_directory_removed_while_locked_is_locked_anew(tmp_path: Path) -> None:
    """Somebody cleans up /var/lib: the next second remover is refused all the same."""
    folder = tmp_path / "state"
    with Lock(folder) as lock:
        lock.renew()
        shutil.rmtree(folder)
        lock.renew()
        assert f"pid {os.getpid()}" in refusal(folder)
        lock.renew()
    with Lock(folder):
        pass


def test_two_removers_do_not_go_on_after_the_directory_was_made_anew(tmp_path: Path) -> None:
    """Another process was faster on the new directory: ours must end before its next removal."""
    folder = tmp_path / "state"
    with Lock(folder) as lock:
        shutil.rmtree(folder)
        with another_process(folder) as holder:
            with pytest.raises(LockUnavailable, match=f"pid {holder.pid}"):
                lock.renew()
            with pytest.raises(LockUnavailable):
                lock.renew()


def test_where_no_directory_can_be_made_the_lock_goes_on_to_hold(tmp_path: Path) -> None:
    """The disk went away or read-only: nobody else can have a lock there either."""
    folder = tmp_path / "state"
    with Lock(folder) as lock:
        shutil.rmtree(folder)
        folder.write_text("")
        lock.renew()
        folder.unlink()
        lock.renew()
        assert f"pid {os.getpid()}" in refusal(folder)


async def test_a_daemon_that_lost_the_lock_ends_before_it_removes(tmp_path: Path) -> None:
    """What it saves right before a removal fails, and nothing is written into the other's
    directory; with the lock taken anew it goes on."""
    folder = tmp_path / "state"
    settings = Settings(None, "", policy=tmp_path / "none", state_dir=folder)
    async with open_client(f"unix://{tmp_path}/none.sock") as client:
        with Lock(folder) as lock:
            daemon = assemble(settings, client, lambda: T0, lock=lock)
            shutil.rmtree(folder)
            await daemon.reconciler.save()
            assert (folder / "ledger.db").exists()
            shutil.rmtree(folder)
            with another_process(folder) as holder:
                with pytest.raises(LockUnavailable, match=f"pid {holder.pid}"):
                    await daemon.reconciler.save()
                assert [file.name for file in folder.iterdir()] == [FILE]
            daemon.close()


def test_the_lost_lock_is_what_the_daemon_ends_with() -> None:
    """However deep in the groups of its tasks: one line for people, no traceback."""
    lost = LockUnavailable("another reconciler (pid 7) removes images here")
    inner = BaseExceptionGroup("the loop", [KeyboardInterrupt(), lost])
    assert lost_lock(BaseExceptionGroup("tasks", [ValueError(), inner])) is lost
    assert lost_lock(BaseExceptionGroup("tasks", [ValueError()])) is None
