"""The operator's policy file or directory -> facts, whenever it changes.

The directory around it is watched, not the file: a watch on a file misses what editors do (write
another, rename it over) and what a ConfigMap does (swap the `..data` link). On every notification,
and on every quiet second, a signature of what is there is compared; only changed bytes are parsed.
`refresh` does the same on demand: the loop calls it right before every removal.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import watchfiles
from watchfiles._rust_notify import WatchfilesRustInternalError

from ..aiokit import Mailbox
from ..domain.facts import Fact, PolicyLoaded, PolicyRejected
from ..domain.policy import Policy, unchanged
from ..policy.files import PolicyInvalid, PolicyUnsettled, Text, absent, entries, read_text
from ..policy.in_subprocess import load_policy_in_subprocess
from ..policy.nodes import Problem

QUIET = 1000  # milliseconds without a notification after which the file is looked at anyway
PATIENCE = 5.0  # seconds for which a policy may stay half written before that is reported
TICK = 100_000_000  # nanoseconds, more than a step of any filesystem's clock
TRIES = 8  # readings of a directory that changes while it is read


@dataclass(frozen=True, slots=True)
class Signature:
    """What changes whenever the bytes of the file, or of the directory's files, change.
    `changed_at`: the newest change of an inode in it, in nanoseconds since 1970."""

    stats: tuple[tuple[int, ...], ...]
    changed_at: int = 0

    @property
    def settled(self) -> bool:
        """Whether any later change would change it. A filesystem's clock moves in steps: two
        writes of the same length within one step look alike."""
        return self.changed_at < time.time_ns() - TICK


class PolicySource:
    """The policy at a path. If somebody `named` it, its absence is a fault; else the defaults
    apply. `adapt` applies what the command line overrides (`--dry-run`, `prune --to`)."""

    def __init__(
        self,
        path: Path,
        named: bool,
        mailbox: Mailbox[Fact],
        clock: Callable[[], float],
        adapt: Callable[[Policy], Policy] = unchanged,
        wall: Callable[[], float] | None = None,
    ) -> None:
        self._path, self._named, self._mailbox = path, named, mailbox
        self._clock, self._adapt = clock, adapt
        self._wall = wall or clock
        self._signature: Signature | None = None  # None: always look
        self._text: Text | None = None  # what was parsed last
        self._day: dt.date | None = None  # the UTC day of that
        self._read_once = False  # after a policy was read here its absence is a fault
        self._builtin_reported = False  # the defaults were the last thing reported
        self._reported: tuple[str, ...] = ()  # the last problems or warnings
        self._unsettled_since: float | None = None
        self._missed: dict[str, float] = {}  # files that vanished from the directory, and when
        self._given_up: tuple[Problem, ...] = ()  # those of them that stayed away
        self._good = False  # what was parsed last is in force
        self._reading = anyio.Lock()
        self._stop = anyio.Event()

    async def refresh(self) -> None:
        """Puts what is new since the last look into the mailbox before it returns. Costs a stat
        if nothing changed. Facts of one kind have one key: a good policy that was not absorbed
        yet is never lost to a bad one that came later."""
        async with self._reading:
            today = dt.datetime.fromtimestamp(self._wall(), dt.UTC).date()
            if today == self._day and _signature(self._path) == self._signature:
                return
            self._signature = None
            fact = await self._look(today)
            if fact is not None:
                self._mailbox.put(("policy", type(fact).__name__), fact)

    async def watch(self) -> None:
        """Reports every change, until stopped."""
        while not self._stop.is_set():
            await self.refresh()
            try:
                await self._follow()
            except (OSError, WatchfilesRustInternalError):
                # No such folder yet, or no watches left on this machine: polling will do.
                await anyio.sleep(QUIET / 1000)
        await anyio.sleep_forever()  # stopped: the caller of stop() cancels this task next

    def stop(self) -> None:
        """Ends the watch at once; cancellation alone would take up to one second."""
        self._stop.set()

    async def _follow(self) -> None:
        """Reports every change until the folder itself is replaced."""
        folder = self._folder()
        inode = folder.stat().st_ino
        changes = watchfiles.awatch(
            folder,
            watch_filter=None,
            recursive=False,
            debounce=50,
            step=5,
            rust_timeout=QUIET,
            yield_on_timeout=True,
            stop_event=self._stop,
        )
        async with contextlib.aclosing(changes):
            async for _ in changes:
                await self.refresh()
                if folder.stat().st_ino != inode or folder != self._folder():
                    return

    def _folder(self) -> Path:
        return self._path if self._path.is_dir() else self._path.parent

    async def _look(self, today: dt.date) -> Fact | None:
        """Returns the fact to report about what is there now, if any."""
        try:
            signature, found = self._read()
            text = self._with_missed(found)
            fact = await self._parse(text, today)
        except PolicyUnsettled as unsettled:
            return self._wait(unsettled)
        except PolicyInvalid as unreadable:
            self._text, self._unsettled_since, self._good = None, None, False
            if absent(self._path) and not self._named and not self._read_once:
                return self._built_in()
            return self._reject(unreadable)
        self._text, self._day, self._unsettled_since = text, today, None
        self._signature = signature if signature.settled and not self._missed else None
        return fact

    def _read(self) -> tuple[Signature, Text]:
        """Returns all bytes, as they were at one moment. Raises PolicyInvalid."""
        for _ in range(TRIES):
            before = _signature(self._path)
            text = read_text(self._path)
            if _signature(self._path) == before:
                return before, text
        raise PolicyUnsettled([Problem.of_file(self._path, "changes faster than it can be read")])

    def _with_missed(self, found: Text) -> Text:
        """Adds to what was found the files that were in force and vanished from the directory just
        now: editors and tools often remove a file and write it again. A file that stays away is
        given up after PATIENCE, as with any other writer, and a warning reports that."""
        now, before = self._clock(), self._text
        if before is None or not self._good or not self._path.is_dir():
            self._missed, self._given_up = {}, ()
            return found
        there = {name for name, _ in found.files} | {one.place.file for one in found.problems}
        copies = {data for _, data in found.files}  # under another name: a renamed file
        gone = {n: data for n, data in before.files if n not in there and data not in copies}
        self._missed = {name: self._missed.get(name, now) for name in gone}
        over = sorted(name for name, since in self._missed.items() if now - since >= PATIENCE)
        if over:
            text = "is gone from the directory, and its rules with it"
            self._given_up = tuple(Problem.of_file(name, text) for name in over)
        elif found.files != before.files:
            self._given_up = ()
        for name in over:
            del self._missed[name], gone[name]
        files = tuple(sorted((*found.files, *gone.items())))
        return replace(found, files=files, warnings=(*found.warnings, *self._given_up))

    async def _parse(self, text: Text, today: dt.date) -> Fact | None:
        """None: nothing that was not reported already."""
        again = text == self._text
        if again and today == self._day:
            return None
        try:
            policy, warnings = await load_policy_in_subprocess(text, today)
        except PolicyUnsettled:
            raise
        except PolicyInvalid as invalid:
            if self._missed:
                raise PolicyUnsettled(invalid.problems) from invalid
            self._good = False
            return self._reject(invalid)
        self._good = True
        shown = tuple(map(str, warnings))
        if again and shown == self._reported:
            return None  # a new day, and no rule nears its end
        return self._load(policy, shown)

    def _built_in(self) -> PolicyLoaded | None:
        """Nobody named a policy and there never was one here: the defaults are in force."""
        if self._builtin_reported:
            return None
        self._builtin_reported, self._reported = True, ()
        return PolicyLoaded(self._clock(), self._adapt(Policy()), ())

    def _load(self, policy: Policy, warnings: tuple[str, ...]) -> PolicyLoaded:
        self._read_once, self._builtin_reported, self._reported = True, False, warnings
        return PolicyLoaded(self._clock(), self._adapt(policy), warnings)

    def _reject(self, invalid: PolicyInvalid) -> PolicyRejected | None:
        problems = tuple(map(str, invalid.problems))
        if problems == self._reported:
            return None
        self._reported, self._builtin_reported = problems, False
        return PolicyRejected(self._clock(), problems)

    def _wait(self, unsettled: PolicyUnsettled) -> PolicyRejected | None:
        """Waits while a policy is half written: the next look will show. What lasts is reported."""
        now = self._clock()
        if self._unsettled_since is None:
            self._unsettled_since = now
        if now - self._unsettled_since < PATIENCE:
            return None
        self._text = None  # so that the next state is reported in any case
        return self._reject(unsettled)


def _signature(path: Path) -> Signature:
    try:
        own = os.stat(path)
        names = entries(path) if path.is_dir() else []
    except OSError as error:
        return Signature(((error.errno or 0,),))
    stats, changed_at = [_identity(own)], own.st_ctime_ns
    for name in names:
        try:
            found = os.stat(path / name)
        except OSError as error:
            stats.append((hash(name), error.errno or 0))
            continue
        stats.append((hash(name), *_identity(found)))
        changed_at = max(changed_at, found.st_ctime_ns)
    return Signature(tuple(stats), changed_at)


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
