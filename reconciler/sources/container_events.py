"""The runtime's event stream -> facts. It never stops reading: on containerd 2.x a subscriber that
stops reading stops pod creation on the node (our measurement, docs/runtimes.md).

How a stream ends shows what it was:
    UNIMPLEMENTED                     containerd 1.6: there are none; tried again rarely
    a clean end at once, twice        CRI-O with events off, its default; tried again rarely
    a clean end later                 CRI-O shutting down: reconnect
    UNAVAILABLE and all else          the runtime is gone: reconnect, with backoff
A silent stream is no fault: an idle node sends nothing. The periodic listing makes up for a stalled
one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel

from ..aiokit import Mailbox, backoff_delays
from ..domain.facts import ContainerChanged, EventsAbsent, EventsLost, EventsOpened, Fact
from ..domain.runtime import EventsUnsupported, ImageRuntime, RuntimeFailure

AT_ONCE = 1.0  # seconds: a stream that ends sooner, without an event, never worked
SECOND_TRY = 0.1  # seconds until such a stream is tried a second time
ASK_AGAIN = 600.0  # seconds until a runtime without events is tried again
HEALTHY = 60.0  # seconds after which a stream counts as healthy, and the backoff starts over
BURST = 100  # events read before the loop gets a turn

Sleep = Callable[[float], Awaitable[None]]


class EventWatch:
    """The subscription, reopened for as long as the process lives."""

    def __init__(
        self,
        runtime: ImageRuntime,
        mailbox: Mailbox[Fact],
        clock: Callable[[], float],
        sleep: Sleep = anyio.sleep,
    ) -> None:
        self._runtime, self._mailbox, self._clock, self._sleep = runtime, mailbox, clock, sleep
        self._delays = backoff_delays()
        self._empty_streams = 0  # in a row, each ended at once

    async def run(self) -> None:
        """Subscribes again and again, forever."""
        while True:
            await self._sleep(await self.once())

    async def once(self) -> float:
        """Runs one subscription to its end; returns the seconds to wait before the next."""
        opened = self._clock()
        self._put(EventsOpened(opened))
        count = 0
        try:
            async for event in self._runtime.container_events():
                count += 1
                key = ("event", event.subject_id, event.kind)
                self._mailbox.put(key, ContainerChanged(event, self._clock()))
                if count % BURST == 0:
                    await anyio.lowlevel.checkpoint()
        except EventsUnsupported as absent:
            return self._absent(str(absent))
        except RuntimeFailure as failure:
            return self._lost(str(failure), opened)
        return await self._ended(count, opened)

    async def _ended(self, count: int, opened: float) -> float:
        """Handles a clean end: events are off if it came at once, repeatedly, from a runtime that
        answers other calls."""
        if count or self._clock() - opened >= AT_ONCE:
            return self._lost("the runtime ended the event stream", opened)
        try:
            version = await self._runtime.version()
        except RuntimeFailure as failure:
            return self._lost(str(failure), opened)
        self._empty_streams += 1
        if self._empty_streams < 2:
            return SECOND_TRY  # nothing to report yet: no working stream was lost
        return self._absent(
            f"{version.name} {version.version} ends the event stream at once: container events "
            "are switched off (CRI-O: enable_pod_events)"
        )

    def _lost(self, reason: str, opened: float) -> float:
        now = self._clock()
        self._empty_streams = 0
        if now - opened >= HEALTHY:
            self._delays = backoff_delays()
        self._put(EventsLost(now, reason))
        return next(self._delays)

    def _absent(self, reason: str) -> float:
        self._delays = backoff_delays()
        self._put(EventsAbsent(self._clock(), reason))
        return ASK_AGAIN

    def _put(self, fact: Fact) -> None:
        self._mailbox.put(("stream", type(fact).__name__), fact)
