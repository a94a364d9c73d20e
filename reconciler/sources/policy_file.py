"""The operator's policy file or directory -> facts, whenever it changes.

The directory around it is watched, not the file: a watch on a file misses what editors do (write
another, rename it over) and what a ConfigMap does (swap the `..data` link). Whatever the watch
says, and on every quiet second, a signature of what is there is compared; only changed bytes are
parsed. `refresh` does the same on demand: the loop asks right before every removal.
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
from ..domain.policy import Policy
from ..policy.files import PolicyInvalid, PolicyUnsettled, Text, absent, entries, read_text, whole
from ..policy.in_subprocess import load_policy_in_subprocess
from ..policy.nodes import Problem

QUIET = 1000  # milliseconds after which the file is looked at though nothing was heard
PATIENCE = 5.0  # seconds that a policy may be in the making before that is told
TICK = 100_000_000  # nanoseconds, more than a step of any filesystem's clock
TRIES = 8  # readings of a directory that changes while it is read


@dataclass(frozen=True, slots=True)
class Signature:
    """What changes whenever bytes do: of the file, or of the directory and its files.
    `changed_at`: the newest change of an inode in it, in nanoseconds since 1970."""

    stats: tuple[tuple[int, ...], ...]
    changed_at: int = 0

    @property
    def settled(self) -> bool:
        """Whether any later change would change it. A filesystem's clock goes in steps: two
        writes of one length within a step look alike."""
        return self.changed_at < time.time_ns() - TICK


class PolicySource:
    """The policy at a path. `named` by somebody: absent is a fault; else the defaults apply.
    `adapt` is what the command line has to say over any policy (`--dry-run`, `prune --to`)."""

    def __init__(
        self,
        path: Path,
        named: bool,
        mailbox: Mailbox[Fact],
        clock: Callable[[], float],
        adapt: Callable[[Policy], Policy] = lambda policy: policy,
        wall: Callable[[], float] | None = None,
    ) -> None:
        self._path, self._named, self._mailbox = path, named, mailbox
        self._clock, self._adapt = clock, adapt
        self._wall = wall or clock
        self._signature: Signature | None = None  # None: look whatever it says
        self._text: Text | None = None  # what was parsed last
        self._day: dt.date | None = None  # the UTC day of that
        self._read_once = False  # a policy was read here: its absence is a fault from then on
        self._builtin_told = False  # the defaults, and nothing else since
        self._told: tuple[str, ...] = ()  # the problems or warnings told last
        self._unsettled_since: float | None = None
        self._missed: dict[str, float] = {}  # files that went from a directory, and since when
        self._given_up: tuple[Problem, ...] = ()  # of them, those that stayed away
        self._good = False  # what was parsed last is in force
        self._reading = anyio.Lock()
        self._stop = anyio.Event()

    async def refresh(self) -> None:
        """Puts what is new since the last look into the mailbox before it returns. Costs a stat
        where nothing changed. Facts of one kind have one key: a good policy that was not absorbed
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
                # No such folder yet, or no watches left on this machine: looking will do.
                await anyio.sleep(QUIET / 1000)
        await anyio.sleep_forever()  # stopped: whoever stopped it cancels it next

    def stop(self) -> None:
        """Ends the watch at once; cancelled alone it would take up to a quiet second."""
        self._stop.set()

    async def _follow(self) -> None:
        """Reports every change until the folder itself is another one."""
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
        """What is to be told of what is there now, if anything."""
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
        """All bytes, as they were at one moment. Raises PolicyInvalid."""
        for _ in range(TRIES):
            before = _signature(self._path)
            text = read_text(self._path)
            if _signature(self._path) == before:
                return before, text
        raise PolicyUnsettled([whole(self._path, "changes faster than it can be read")])

    def _with_missed(self, found: Text) -> Text:
        """What was found, with the files that were in force and have only just gone from the
        directory: half of what editors and tools do is to remove a file and make it anew. What
        stays away is given up when the patience with any other writer ends, and that is told."""
        now, before = self._clock(), self._text
        if before is None or not self._good or not self._path.is_dir():
            self._missed, self._given_up = {}, ()
            return found
        there = {name for name, _ in found.files} | {one.place.file for one in found.problems}
        copies = {data for _, data in found.files}  # under another name: it was renamed
        gone = {n: data for n, data in before.files if n not in there and data not in copies}
        self._missed = {name: self._missed.get(name, now) for name in gone}
        over = sorted(name for name, since in self._missed.items() if now - since >= PATIENCE)
        if over:
            text = "is gone from the directory, and its rules with it"
            self._given_up = tuple(whole(name, text) for name in over)
        elif found.files != before.files:
            self._given_up = ()
        for name in over:
            del self._missed[name], gone[name]
        files = tuple(sorted((*found.files, *gone.items())))
        return replace(found, files=files, warnings=(*found.warnings, *self._given_up))

    async def _parse(self, text: Text, today: dt.date) -> Fact | None:
        """None: nothing that was not told already."""
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
        told = tuple(map(str, warnings))
        if again and told == self._told:
            return None  # a new day, and no rule nears its end
        return self._load(policy, told)

    def _built_in(self) -> PolicyLoaded | None:
        """Nobody named a policy and none ever was here: the defaults are in force."""
        if self._builtin_told:
            return None
        self._builtin_told, self._told = True, ()
        return PolicyLoaded(self._clock(), self._adapt(Policy()), ())

    def _load(self, policy: Policy, warnings: tuple[str, ...]) -> PolicyLoaded:
        self._read_once, self._builtin_told, self._told = True, False, warnings
        return PolicyLoaded(self._clock(), self._adapt(policy), warnings)

    def _reject(self, invalid: PolicyInvalid) -> PolicyRejected | None:
        problems = tuple(map(str, invalid.problems))
        if problems == self._told:
            return None
        self._told, self._builtin_told = problems, False
        return PolicyRejected(self._clock(), problems)

    def _wait(self, unsettled: PolicyUnsettled) -> PolicyRejected | None:
        """In the making: the next look will tell. What lasts is told."""
        now = self._clock()
        if self._unsettled_since is None:
            self._unsettled_since = now
        if now - self._unsettled_since < PATIENCE:
            return None
        self._text = None  # so that it is told anew, whatever it will be
        return self._reject(unsettled)


def _signature(path: Path) -> Signature:
    try:
        own = os.stat(path)
        names = entries(path) if path.is_dir() else []
    except OSError as error:
        return Signature(((error.errno or 0,),))
    stats, changed_at = [_told_apart(own)], own.st_ctime_ns
    for name in names:
        try:
            found = os.stat(path / name)
        except OSError as error:
            stats.append((hash(name), error.errno or 0))
            continue
        stats.append((hash(name), *_told_apart(found)))
        changed_at = max(changed_at, found.st_ctime_ns)
    return Signature(tuple(stats), changed_at)


def _told_apart(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
