"""The operator's policy file or directory -> facts, whenever it changes.

The directory around it is watched, not the file: a watch on a file misses what editors do (write
another, rename it over) and what a ConfigMap does (swap the `..data` link). Whatever the watch
says, and on every quiet second, a signature of what is there is compared; only changed bytes are
parsed. `refresh` does the same on demand: the loop asks right before every removal.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import watchfiles

from ..aiokit import Mailbox
from ..domain.facts import Fact, PolicyLoaded, PolicyRejected
from ..domain.policy import Policy
from ..policy.files import PolicyInvalid, Text, load_policy_aside, read_text

QUIET = 1000  # milliseconds after which the file is looked at though nothing was heard

Signature = tuple[tuple[int, ...], ...]


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
    ) -> None:
        self._path, self._named, self._mailbox = path, named, mailbox
        self._clock, self._adapt = clock, adapt
        self._signature: Signature | None = None
        self._text: Text | None = None
        self._loaded = False
        self._reading = anyio.Lock()
        self._stop = anyio.Event()
        self.warnings: tuple[str, ...] = ()

    async def refresh(self) -> None:
        """Puts what is new since the last look into the mailbox before it returns. Costs a stat
        where nothing changed. Facts of one kind have one key: a good policy that was not absorbed
        yet is never lost to a bad one that came later."""
        async with self._reading:
            signature = _signature(self._path)  # before reading: a later change is seen next time
            if signature == self._signature:
                return
            fact = await self._read()
            self._signature = signature
            if fact is not None:
                self._mailbox.put(("policy", type(fact).__name__), fact)

    async def watch(self) -> None:
        """Reports every change, until stopped."""
        while not self._stop.is_set():
            await self.refresh()
            try:
                await self._follow()
            except OSError:
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
        async for _ in watchfiles.awatch(
            folder,
            watch_filter=None,
            recursive=False,
            debounce=50,
            step=5,
            rust_timeout=QUIET,
            yield_on_timeout=True,
            stop_event=self._stop,
        ):
            await self.refresh()
            if folder.stat().st_ino != inode or folder != self._folder():
                return

    def _folder(self) -> Path:
        return self._path if self._path.is_dir() else self._path.parent

    async def _read(self) -> Fact | None:
        try:
            text = read_text(self._path)
        except PolicyInvalid as invalid:
            return self._unreadable(invalid)
        if text == self._text:
            return None
        self._text = text
        try:
            policy, warnings = await load_policy_aside(text)
        except PolicyInvalid as invalid:
            return PolicyRejected(self._clock(), tuple(map(str, invalid.problems)))
        self._loaded = True
        self.warnings = tuple(map(str, warnings))
        return PolicyLoaded(self._clock(), self._adapt(policy))

    def _unreadable(self, invalid: PolicyInvalid) -> Fact | None:
        """Gone or not there yet. What was good once stays in force; where nobody named a file,
        none at the start means the defaults."""
        self._text = None
        absent = not os.path.lexists(self._path)
        if absent and not self._named and not self._loaded:
            self._loaded = True
            return PolicyLoaded(self._clock(), self._adapt(Policy()))
        return PolicyRejected(self._clock(), tuple(map(str, invalid.problems)))


def _signature(path: Path) -> Signature:
    """What changes whenever bytes do: of the file, or of the directory and its files."""
    try:
        own = _stat(path)
        if not path.is_dir():
            return (own,)
        names = sorted(name for name in os.listdir(path) if name.endswith(".yaml"))
    except OSError as error:
        return ((error.errno or 0,),)
    files = []
    for name in names:
        try:
            files.append((hash(name), *_stat(path / name)))
        except OSError as error:
            files.append((hash(name), error.errno or 0))
    return (own, *files)


def _stat(path: Path) -> tuple[int, ...]:
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
