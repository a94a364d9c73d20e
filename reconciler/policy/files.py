"""A file or a directory -> its bytes -> a policy. Never waits on what it is given: a FIFO, a device
or a loop of links is refused, not read.

A small policy is parsed here and now (100 rules take about 2 ms); one over 256 KiB goes to a child
process, since a parse of a third of a second must not stop the event loop.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import pickle
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..domain.policy import Place, Policy
from .nodes import Problem, Sheet
from .parse import Draft, finish, read_into

LARGEST = 1 << 20  # bytes of one file; more is refused unread
ASIDE = 256 << 10  # bytes of all files from which on a child process parses
CHILD_DEADLINE = 30.0  # seconds


class PolicyInvalid(Exception):
    """A policy that can not be used; `problems` has every reason, each a line for people."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Text:
    """What was read: each file's name and bytes, and what was wrong with the others."""

    source: str
    files: tuple[tuple[str, bytes], ...]
    problems: tuple[Problem, ...] = ()

    @property
    def size(self) -> int:
        return sum(len(data) for _, data in self.files)


def load_policy(path: Path) -> Policy:
    """Reads and parses. Raises PolicyInvalid."""
    policy, _ = parse_text(read_text(path))
    return policy


async def load_policy_aside(text: Text) -> tuple[Policy, tuple[Problem, ...]]:
    """Parses a text, in a child process if it is big, so that the loop goes on; with warnings.
    Raises PolicyInvalid."""
    if text.size <= ASIDE:
        return parse_text(text)
    answer = await _in_child(text)
    if isinstance(answer, PolicyInvalid):
        raise answer
    return answer


def read_text(path: Path) -> Text:
    """All bytes of a file, or of a directory's `*.yaml`, by name. Raises PolicyInvalid if the
    path itself is not there."""
    try:
        if path.is_dir():
            return _directory(path)
        return Text(str(path), ((str(path), _bytes(path)),))
    except (OSError, RuntimeError) as error:
        raise PolicyInvalid([_unreadable(path, error)]) from error


def parse_text(text: Text, today: dt.date | None = None) -> tuple[Policy, tuple[Problem, ...]]:
    """The policy and its warnings. Raises PolicyInvalid with all problems of all files."""
    draft, sheets = Draft(), []
    for name, data in text.files:
        sheet = Sheet(name)
        sheets.append(sheet)
        read_into(draft, data, sheet, today or dt.datetime.now(dt.UTC).date())
    policy = finish(draft, text.source)
    problems = [*text.problems, *(one for sheet in sheets for one in sheet.found())]
    if problems:
        raise PolicyInvalid(problems)
    return policy, tuple(one for sheet in sheets for one in sheet.warnings)


def _directory(path: Path) -> Text:
    names = sorted(
        name for name in os.listdir(path) if name.endswith(".yaml") and not name.startswith(".")
    )
    if not names:
        text = "no *.yaml in this directory; expected at least one policy file"
        raise PolicyInvalid([_whole(path, text)])
    files, problems = [], []
    for name in names:
        file = path / name
        try:
            files.append((str(file), _bytes(file)))
        except OSError as error:
            problems.append(_unreadable(file, error))
    return Text(str(path), tuple(files), tuple(problems))


def _bytes(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "expected a regular file or a directory, found neither")
        if found.st_size > LARGEST:
            raise OSError(0, f"larger than 1 MiB ({found.st_size} bytes), not read")
        data = b""
        while len(data) <= LARGEST and (more := os.read(handle, LARGEST + 1 - len(data))):
            data += more
        if len(data) > LARGEST:
            raise OSError(0, "larger than 1 MiB, not read")
        return data
    finally:
        os.close(handle)


def _unreadable(path: Path, error: Exception) -> Problem:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return _whole(path, f"can not be read: {why}")


def _whole(path: Path | str, text: str) -> Problem:
    """A problem of a file as a whole, or of a directory."""
    return Problem(Place(str(path), 1, 1), text)


async def _in_child(text: Text) -> tuple[Policy, tuple[Problem, ...]] | PolicyInvalid:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "reconciler.policy.child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        out, _ = await asyncio.wait_for(child.communicate(pickle.dumps(text)), CHILD_DEADLINE)
    except TimeoutError:
        child.kill()
        await child.wait()
        raise PolicyInvalid([_whole(text.source, "takes too long to parse")]) from None
    if child.returncode != 0:
        raise PolicyInvalid([_whole(text.source, "the parser gave up on it")])
    answer = pickle.loads(out)
    if isinstance(answer, list):
        return PolicyInvalid(answer)
    assert isinstance(answer, tuple)
    return answer
