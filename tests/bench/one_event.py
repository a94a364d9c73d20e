"""What one event costs, from received bytes to the updated graph: on a big node next to a small
one, and next to the reading of it alone.
"""

from __future__ import annotations

import time

import structlog

from reconciler.aiokit import Mailbox
from reconciler.cri import translate
from reconciler.cri._pb import runtime_pb2 as pb
from reconciler.domain.absorb import absorb
from reconciler.domain.facts import ContainerChanged, Fact, Listed
from reconciler.domain.inventory import Listing
from reconciler.domain.state import State
from reconciler.telemetry.journal import LogAndMetrics
from reconciler.telemetry.metrics import Metrics

from . import messages
from .figures import Figure, median

IMAGES = 100
SMALL, BIG = 100, 10_000  # containers on the node
PODS = 500  # whose lives are one block of events


class Loop:
    """What the daemon does with one event, without the waiting: decode, translate, put, take,
    absorb, count."""

    def __init__(self, containers: int) -> None:
        now = time.time()  # the clock of events too: an image in use must not look idle
        self._state = State(began_at=now)
        self._mailbox: Mailbox[Fact] = Mailbox()
        self._journal = LogAndMetrics(Metrics())
        self._pods = 10_000_000
        listed = [messages.container(n, IMAGES, 1).SerializeToString() for n in range(containers)]
        boxes = [
            messages.sandbox(n, 1).SerializeToString()
            for n in range(containers // messages.PER_POD)
        ]
        images = [messages.image(n).SerializeToString() for n in range(IMAGES)]
        listing = Listing(
            now,
            now,
            tuple(translate.image(pb.Image.FromString(one)) for one in images),
            tuple(translate.container(pb.Container.FromString(one)) for one in listed),
            tuple(translate.sandbox(pb.PodSandbox.FromString(one)) for one in boxes),
        )
        version = translate.version(pb.VersionResponse(runtime_name="containerd"))
        absorb(Listed(listing, version, None), self._state)

    def reading(self) -> float:
        """Seconds to decode and translate one event, over the lives of `PODS` pods."""
        received = self._received()
        began = time.perf_counter()
        for data in received:
            translate.event(pb.ContainerEventResponse.FromString(data))
        return (time.perf_counter() - began) / len(received)

    def block(self) -> float:
        """Seconds for one event, over the lives of `PODS` pods."""
        received = self._received()
        began = time.perf_counter()
        for data in received:
            event = translate.event(pb.ContainerEventResponse.FromString(data))
            assert event is not None
            fact = ContainerChanged(event, event.created_at)
            self._mailbox.put(("event", event.subject_id, event.kind), fact)
            for taken in self._mailbox.drain():
                absorb(taken, self._state)
                self._journal.absorbed(taken, self._state, event.created_at)
        return (time.perf_counter() - began) / len(received)

    def _received(self) -> list[bytes]:
        first = self._pods
        self._pods += PODS
        return [
            event.SerializeToString()
            for pod in range(first, self._pods)
            for event in messages.pod_events(pod, IMAGES)
        ]


def at_two_sizes(rounds: int = 15) -> list[Figure]:
    """Both nodes, and the reading alone, in turns; the ratios of the medians."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    small, big = Loop(SMALL), Loop(BIG)
    small.block(), big.block()
    took = [(small.reading(), small.block(), big.block()) for _ in range(rounds)]
    reading, on_small, on_big = (median(one) for one in zip(*took, strict=True))
    made_of = {"small us": 1e6 * on_small, "big us": 1e6 * on_big, "rounds": rounds}
    next_to_reading = {"reading us": 1e6 * reading, "small us": 1e6 * on_small, "rounds": rounds}
    return [
        Figure("one event, 10,000 containers / 100", on_big / on_small, 1.3, "times", made_of),
        Figure("one event / reading it", on_small / reading, 4.0, "times", next_to_reading),
    ]
