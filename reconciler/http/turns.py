"""Makes one answer at a time, with a pause after each, so that all clients together get a share of
the daemon's time and never all of it: the event reader, and the pods on the node, come first. Each
address has a queue of its own, and they take turns: kubelet's probe does not wait behind a crowd.

Measured with 60 clients that requested all images again and again: without pauses the events of
containerd 2.1 were not read for seconds, and creations of containers ran into their deadline.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

SHARE = 9  # the pause, in multiples of the time spent on an answer
LONGEST = 0.5  # seconds of such a pause
SPEED = 20e6  # bytes of answers a second


@dataclass(slots=True)
class Turn:
    """The turn of one answer."""

    began: float
    ended: float | None = None
    length: int = 0  # bytes of the answer


class Turns:
    """Address after address, and first come, first served within one. `pause`: the shortest pause,
    in seconds."""

    def __init__(
        self,
        pause: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._pause, self._monotonic, self._sleep = pause, monotonic, sleep
        self._waiting: dict[str, deque[anyio.Event]] = {}  # by address; the first one is next
        self._taken = False
        self._free_at = float("-inf")

    async def take(self, address: str) -> Turn:
        """Waits for a turn, which `give_back` ends."""
        mine = anyio.Event()
        self._waiting.setdefault(address, deque()).append(mine)
        self._call_next()
        try:
            await mine.wait()
            if (wait := self._free_at - self._monotonic()) > 0:
                await self._sleep(wait)
        except BaseException:
            self._leave(address, mine)
            raise
        return Turn(self._monotonic())

    def give_back(self, turn: Turn) -> None:
        """Ends a turn; calling it again has no effect."""
        if turn.ended is not None:
            return
        turn.ended = self._monotonic()
        worked = min(SHARE * (turn.ended - turn.began), LONGEST)
        self._free_at = turn.ended + max(self._pause, worked, turn.length / SPEED)
        self._release()

    def _leave(self, address: str, waiting: anyio.Event) -> None:
        if waiting.is_set():
            self._release()
        else:
            self._waiting[address].remove(waiting)
            if not self._waiting[address]:
                del self._waiting[address]

    def _release(self) -> None:
        self._taken = False
        self._call_next()

    def _call_next(self) -> None:
        if self._taken or not self._waiting:
            return
        address = next(iter(self._waiting))
        queue = self._waiting.pop(address)
        self._taken = True
        queue.popleft().set()
        if queue:
            self._waiting[address] = queue  # behind all others
