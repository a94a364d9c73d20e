"""A file or a directory -> its bytes -> a policy. Never blocks on what it is given: a FIFO, a
device or a loop of links is refused, not read.

A small policy is parsed in place (100 rules take about 2 ms); a big one goes to a child
process, since a long parse must not stop the event loop.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..domain.humanize import size_text
from ..domain.policy import Policy
from ..regular_file import Refused, bytes_of, opened
from .draft import Draft
from .nodes import Problem, Sheet
from .parse import finish, read_into
from .rules import disagreeing

ENDINGS = (".yaml", ".yml")
LARGEST_TOGETHER = 16 << 20  # bytes of all files of a directory


class PolicyInvalid(Exception):
    """A policy that cannot be used; `problems` has every reason, each a line for people."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class PolicyUnsettled(PolicyInvalid):
    """A policy that cannot be determined at this moment (somebody is writing it, or this machine
    is short of something): look again soon."""


@dataclass(frozen=True, slots=True)
class Text:
    """What was read: each file's name and bytes, and what was wrong with the others."""

    source: str
    files: tuple[tuple[str, bytes], ...]
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def size(self) -> int:
        return sum(len(data) for _, data in self.files)


def load_policy(path: Path) -> Policy:
    """Reads and parses. Raises PolicyInvalid."""
    policy, _ = parse_text(read_text(path))
    return policy


def absent(path: Path) -> bool:
    """Whether there is certainly nothing at a path: a dangling link is something, and what may not
    be looked at is not absent."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def read_text(path: Path) -> Text:
    """All bytes of a file, or of a directory's policy files, by name. Raises PolicyInvalid if the
    path itself cannot be read, PolicyUnsettled while one of its files is written or removed."""
    try:
        if path.is_dir():
            return _directory(path)
        return Text(str(path), ((str(path), _bytes(path)),))
    except OSError as error:
        raise PolicyInvalid([_unreadable(path, error)]) from error


def parse_text(text: Text, today: dt.date | None = None) -> tuple[Policy, tuple[Problem, ...]]:
    """Returns the policy and its warnings, as of a UTC day (default: today). Raises PolicyInvalid
    with all problems of all files."""
    draft, sheets = Draft(), []
    for name, data in text.files:
        sheet = Sheet(name)
        sheets.append(sheet)
        read_into(draft, data, sheet, today or dt.datetime.now(dt.UTC).date())
    policy = finish(draft, text.source)
    problems = [*text.problems, *(one for sheet in sheets for one in sheet.found())]
    if problems:
        raise PolicyInvalid(problems)
    warnings = [one for sheet in sheets for one in sheet.warnings]
    return policy, (*text.warnings, *warnings, *disagreeing(policy))


def _directory(path: Path) -> Text:
    names = entries(path)
    left_out = {name: why for name in names if (why := _left_out(path / name))}
    taken = [name for name in names if name not in left_out]
    if not taken:
        text = "no *.yaml in this directory; expected at least one policy file"
        raise PolicyInvalid([Problem.of_file(path, text)])
    files, problems, size = [], [], 0
    for name in taken:
        file = path / name
        try:
            data = _bytes(file)
        except OSError as error:
            if absent(file):
                raise PolicyUnsettled(
                    [Problem.of_file(file, "is gone since it was listed")]
                ) from error
            problems.append(_unreadable(file, error))
            continue
        size += len(data)
        if size > LARGEST_TOGETHER:
            text = f"together larger than {size_text(LARGEST_TOGETHER)}, not read on"
            raise PolicyInvalid([Problem.of_file(path, text)])
        files.append((str(file), data))
    warnings = tuple(
        Problem.of_file(path / name, f"is not read: {why}") for name, why in left_out.items()
    )
    return Text(str(path), tuple(files), tuple(problems), warnings)


def entries(path: Path) -> list[str]:
    """What is in a directory of policies, by name. The parts of a ConfigMap's volume (`..data`) and
    what editors leave (`.policy.yaml.swp`) do not count, unless they are named like a policy."""
    return sorted(
        name
        for name in os.listdir(path)
        if not name.startswith(".") or (name.endswith(ENDINGS) and not name.startswith(".."))
    )


def _left_out(path: Path) -> str | None:
    """Why an entry is not a policy file; None: it is one. A ConfigMap's key needs no ending."""
    if path.name.startswith("."):
        return "its name begins with a dot"
    if path.suffix in ENDINGS:
        return None
    if path.suffix or path.name.endswith("~"):
        return "expected a name that ends in .yaml or .yml, or has no ending"
    return "a directory in a directory of policies" if path.is_dir() else None


def _bytes(path: Path) -> bytes:
    with opened(path) as handle:
        _check_current(os.fstat(handle), path)
        with _nobody_writing(handle, path):
            return bytes_of(handle, path)


def _check_current(found: os.stat_result, path: Path) -> None:
    """Refuses a stale file: one that is mounted on its own stays what it was at the mount, so after
    it was replaced on the host it is in no directory any more, and no edit ever arrives here."""
    if found.st_nlink:
        return
    now = os.stat(path)
    if (now.st_dev, now.st_ino) != (found.st_dev, found.st_ino):
        raise PolicyUnsettled([Problem.of_file(path, "was replaced while it was read")])
    text = "stale: the file that is mounted here was replaced or removed where it comes from"
    raise Refused(path, f"{text}; mount its directory instead, and restart this")


@contextlib.contextmanager
def _nobody_writing(handle: int, path: Path) -> Iterator[None]:
    """Makes sure that a file is not read half written: half a list of exclusions can be a valid
    policy that excludes less. The kernel grants a read lease only while nobody has the file
    open for writing, and makes writers wait (microseconds) while it is held.

    Where there are no leases (some network filesystems, another user's file) it is read anyway.
    """
    try:
        # A writer that opens the file now makes the kernel send a signal: one that is ignored.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        text = "is open for writing elsewhere: it is read when its writer has closed it"
        raise PolicyUnsettled([Problem.of_file(path, text)]) from None
    except OSError:
        yield
        return
    try:
        yield
    finally:
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem.of_file(path, f"cannot be read: {error.strerror or error}")
