"""A user without access to a file: one line that says which and why, and no traceback.

root may read everything, so the commands run without that right here (CAP_DAC_OVERRIDE and
CAP_DAC_READ_SEARCH), before a folder that belongs to another user.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.pods.kubelet import KubeletSource
from reconciler.pods.source import PodsUnavailable
from reconciler.pods.watch import Place
from reconciler.settings import resolve
from tests.builders import HANGS

NOBODY = 65534
# A separate program drops them: our own code in a forked child would run next to the threads that
# gRPC starts again there, which abort it once its files are closed.
LESS = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
WITHOUT_RIGHTS = LESS if os.geteuid() == 0 else ()
# The error for a file that this user may not read, of each command and each flag that names one.
ERRORS = [
    ("plan -r LOCKED/cri.sock", 3, "LOCKED/cri.sock: Permission denied; this needs to run as a"),
    ("images -r LOCKED/cri.sock", 3, "Permission denied; this needs to run as a user who may"),
    ("explain x -r LOCKED/cri.sock", 3, "Permission denied; this needs to run as a user who may"),
    ("diff POLICY -r LOCKED/cri.sock", 3, "Permission denied; this needs to run as a user who may"),
    ("prune --dry-run -r LOCKED/cri.sock", 3, "Permission denied; this needs to run as a user"),
    ("prune --state-dir LOCKED/state", 1, "no state directory at LOCKED/state: Permission denied"),
    ("history --state-dir LOCKED", 1, "LOCKED/history.db cannot be read: Permission denied"),
    ("record --out OUT --state-dir LOCKED", 1, "LOCKED/ledger.db cannot be read: Permission"),
    ("simulate --state-dir LOCKED", 1, "LOCKED/ledger.db cannot be read: Permission denied"),
    ("simulate --from LOCKED/record.json", 1, "LOCKED/record.json cannot be read: Permission"),
    ("simulate --workload azure --traces LOCKED", 1, ".csv cannot be read: Permission denied"),
    ("check LOCKED/policy.yaml", 1, "LOCKED/policy.yaml:1:1: cannot be read: Permission denied"),
    ("diff LOCKED/policy.yaml", 1, "LOCKED/policy.yaml:1:1: cannot be read: Permission denied"),
    ("run --state-dir LOCKED/state", 1, "no state directory at LOCKED/state: Permission denied"),
]


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    lines: list[str]  # on stderr


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder with all that could be named, which only its owner may read."""
    with tempfile.TemporaryDirectory(prefix="refused-") as home:
        Path(home).chmod(0o755)
        folder = Path(home) / "locked"
        folder.mkdir()
        for name in ("ledger.db", "history.db", "policy.yaml", "record.json", "token", "cri.sock"):
            (folder / name).touch()
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        folder.chmod(0o700 if os.geteuid() == 0 else 0)
        yield folder
        folder.chmod(0o700)


def typed(line: str, locked: Path, home: Path) -> Ended:
    """A command to its end; the flags that name this machine's own things come first."""
    policy = home / "policy.yaml"
    policy.write_text("apiVersion: reconciler/v1\nkind: ImagePolicy\n")
    words = {"LOCKED": locked, "POLICY": policy, "OUT": home / "out.json"}
    for word, path in words.items():
        line = line.replace(word, str(path))
    command, *flags = line.split()
    if command not in {"check", "simulate"} and "--state-dir" not in flags:
        flags += ["--state-dir", str(home / "state")]
    if command == "run":
        flags += ["--listen", "127.0.0.1:0"]
    done = subprocess.run(
        [*WITHOUT_RIGHTS, sys.executable, "-m", "reconciler", command, *flags],
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
        cwd=home,
    )
    return Ended(done.returncode, done.stdout, done.stderr.splitlines())


@pytest.mark.parametrize(("line", "code", "error"), ERRORS, ids=[line for line, *_ in ERRORS])
def test_a_file_without_access_is_one_line(
    line: str, code: int, error: str, locked: Path, tmp_path: Path
) -> None:
    """Which file, and that access to it is denied."""
    ended = typed(line, locked, tmp_path)
    assert ended.code == code
    (printed,) = ended.lines or ended.out.splitlines()
    assert error.replace("LOCKED", str(locked)) in printed


def test_a_past_that_may_not_be_read_is_a_warning_before_the_answer(
    locked: Path, tmp_path: Path
) -> None:
    """Without the ledger every image counts as seen just now: a plan that hides it misleads."""
    warning, error = typed(f"plan --state-dir {locked} -r /none.sock", locked, tmp_path).lines
    assert f"{locked}/ledger.db cannot be read: Permission denied" in warning
    assert "every image counts as seen just now" in warning
    assert "no such socket" in error


@contextlib.contextmanager
def refused_to_look(folder: Path) -> Iterator[None]:
    """Makes this process the user nobody for the time of the block."""
    before = os.geteuid()
    if before == 0:
        os.chown(folder, 0, 0)
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_runtime_behind_a_folder_that_is_closed_is_found_and_then_refused(locked: Path) -> None:
    """As somebody else than root `reconciler plan` ended in a traceback wherever /run/containerd
    was closed. Whether the socket exists is unknown: opening it shows what is missing."""
    with refused_to_look(locked):
        settings = resolve({}, {}, crictl=Path("/none"), sockets=("/none", f"{locked}/cri.sock"))
    assert settings.runtime_endpoint == f"unix://{locked}/cri.sock"


async def test_a_token_behind_a_folder_that_is_closed_does_not_end_the_daemon(locked: Path) -> None:
    """The source of pods is unavailable, and says why."""
    place = Place("kubelet", Path("/none"), ("::1", 1), None, None, "", account=locked)
    with refused_to_look(locked):
        source = place.source("kubelet", lambda: 0.0)
        assert isinstance(source, KubeletSource)
        with pytest.raises(PodsUnavailable, match="Permission denied"):
            await source.ask(1.0)
