"""One answer at a time, with a rest after each, so that all who ask together get a share of the
daemon's time and never the whole: the reader of events, and the pods on the node, come first.

Measured with 60 clients that asked for all images again and again: without rests the events of
containerd 2.1 were not taken for seconds, and creations of containers ran into their deadline.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

SHARE = 9  # times as long as was worked on an answer
LONGEST = 0.5  # seconds of rest
SPEED = 20e6  # bytes of answers a second


@dataclass(slots=True)
class Turn:
    """The turn of one answer."""

    began: float
    ended: float | None = None
    length: int = 0  # bytes that are going to be sent


class Turns:
    """First come, first served. `rest` is the least, in seconds."""

    def __init__(
        self,
        rest: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._rest, self._monotonic, self._sleep = rest, monotonic, sleep
        self._free = anyio.Semaphore(1)  # whoever sends the answer gives it back
        self._free_at = float("-inf")

    async def take(self) -> Turn:
        """Waits for its turn; to be given back by `give_back`."""
        await self._free.acquire()
        try:
            if (wait := self._free_at - self._monotonic()) > 0:
                await self._sleep(wait)
        except BaseException:
            self._free.release()
            raise
        return Turn(self._monotonic())

    def give_back(self, turn: Turn) -> None:
        """The answer is made; twice is as once."""
        if turn.ended is not None:
            return
        turn.ended = self._monotonic()
        worked = min(SHARE * (turn.ended - turn.began), LONGEST)
        self._free_at = turn.ended + max(self._rest, worked, turn.length / SPEED)
        self._free.release()
