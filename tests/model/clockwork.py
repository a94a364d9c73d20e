"""An event loop whose time is virtual: when nothing is left to do it leaps to the next timer. A day
passes in an instant, and the same seed gives the same order of everything."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Iterator, Mapping, MutableSet
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, TypeVar

import anyio.to_thread
import structlog
from anyio._backends import _asyncio as scopes

from reconciler import app
from reconciler.http import documents

T = TypeVar("T")

LIVELOCK = 20_000  # rounds of the loop without a moment passing: something spins


class Livelock(Exception):
    """The loop turns and turns and time stands still: on a real machine, one core at 100 %."""


class _Leap(selectors.BaseSelector):
    """Selects nothing; a wait is a leap of the clock."""

    def __init__(self) -> None:
        self._keys: dict[Any, selectors.SelectorKey] = {}
        self.now = 0.0
        self._rounds = 0
        self.turns = 0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        return self._keys.pop(fd)

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Livelock("nothing runs and nothing is waited for: the world stands still")
        self._rounds += 1
        self.turns += 1
        if timeout > 0:
            self.now += timeout
            self._rounds = 0
        elif self._rounds > LIVELOCK // 10:
            self.now += 1e-6  # a real clock goes on, past what two roundings disagree about
        if self._rounds > LIVELOCK:
            self._rounds = 0
            raise Livelock(f"{LIVELOCK} turns of the event loop, and no time has passed")
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` counts from 0 and never waits for real."""

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        return self._leap.now

    @property
    def turns(self) -> int:
        """How often it has turned: of two runs that went the same way, the same."""
        return self._leap.turns

    def leap(self, seconds: float) -> None:
        """Time passes without anything running in it."""
        self._leap.now += seconds


class Ordered(MutableSet[T]):
    """A set in the order in which things came into it: one of tasks goes by their addresses, and
    those that are cancelled together would end in another order in every process."""

    def __init__(self) -> None:
        self._things: dict[T, None] = {}

    def __contains__(self, thing: object) -> bool:
        return thing in self._things

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._things))

    def __len__(self) -> int:
        return len(self._things)

    def add(self, value: T) -> None:
        self._things[value] = None

    def discard(self, value: T) -> None:
        self._things.pop(value, None)


@contextmanager
def virtual() -> Iterator[None]:
    """Work meant for a thread is done in place, after a turn of the loop: a thread of its own
    would run in real time. Logs go nowhere: a million steps log much. The daemon's way with the
    garbage collector is left out: here one process is a thousand daemons, each of which would
    freeze what the last one left."""

    async def run_sync(work: Callable[..., T], *args: Any, **_: Any) -> T:
        await asyncio.sleep(0)
        return work(*args)

    before, names = anyio.to_thread.run_sync, vars(app)
    collector = names["gc"]
    names["gc"] = SimpleNamespace(
        collect=lambda: 0, freeze=lambda: None, set_threshold=lambda *_: None
    )
    rows, vars(documents)["ROWS"] = documents.ROWS, 1  # others may run after every row
    logs = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    anyio.to_thread.run_sync = run_sync  # type: ignore[assignment] # for as long as this lasts
    vars(scopes)["set"] = Ordered
    try:
        yield
    finally:
        anyio.to_thread.run_sync, names["gc"] = before, collector
        del vars(scopes)["set"]
        vars(documents)["ROWS"] = rows
        structlog.configure(**logs)
