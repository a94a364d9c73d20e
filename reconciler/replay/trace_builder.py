"""Builds a made-up past: starts of containers, their lifetimes, deployments of new versions."""

from __future__ import annotations

import bisect
import random
from collections.abc import Callable, Iterator, Sequence

from .catalogue import App, Catalogue, lognormal
from .trace import DAY, HOUR, Start

END, WARM = 28 * DAY, 7 * DAY
# How long containers live: pairs of longest (seconds) and chance, log-uniform in between.
Lifetimes = Sequence[tuple[float, float]]
SERVICES: Lifetimes = (
    (10, 0.10),
    (60, 0.08),
    (300, 0.10),
    (600, 0.08),
    (1800, 0.12),
    (3600, 0.08),
    (6 * HOUR, 0.16),
    (DAY, 0.10),
    (7 * DAY, 0.12),
    (14 * DAY, 0.06),
)
JOBS: Lifetimes = ((10, 0.30), (60, 0.24), (300, 0.20), (600, 0.11), (1800, 0.10), (3600, 0.05))
# Hours between the runs of a cron job, and the share of jobs that have them.
PERIODS = (
    (1, 0.09),
    (2, 0.06),
    (3, 0.03),
    (4, 0.10),
    (6, 0.13),
    (8, 0.05),
    (12, 0.28),
    (24, 0.19),
    (48, 0.02),
    (72, 0.02),
    (168, 0.03),
)
Timeline = list[tuple[float, int]]  # (since when, which image is the present version)


class TraceBuilder:
    """A past being built: its catalogue and its starts so far."""

    def __init__(self, draw: random.Random, catalogue: Catalogue) -> None:
        self.draw, self.catalogue = draw, catalogue
        self.starts: list[Start] = []

    def start(self, at: float, lasted: float, image: int) -> None:
        self.starts.append(Start(at, lasted, image))

    def lifetime(self, lifetimes: Lifetimes) -> float:
        """Seconds that a container lives."""
        chance, shortest = self.draw.random(), 1.0
        for longest, share in lifetimes:
            if chance < share:
                return float(shortest * (longest / shortest) ** self.draw.random())
            chance -= share
            shortest = longest
        return float(lifetimes[-1][0])

    def poisson(
        self, a_day: float, busy: Callable[[float], float] | None = None
    ) -> Iterator[float]:
        """Times at a rate, thinned by how busy it is then (0 to 1)."""
        at = 0.0
        while True:
            at += self.draw.expovariate(a_day / DAY)
            if at > END:
                return
            if busy is None or self.draw.random() < busy(at):
                yield at

    def deployments(self, app: App, days: float) -> Timeline:
        """Which version is deployed when; one in 25 is rolled back within two hours."""
        draw = self.draw
        interval = lognormal(draw, days * DAY, 1.0)
        at = -draw.random() * interval
        present = self.catalogue.version(app, max(at, 0))
        found = [(-1.0, present)]
        at += draw.expovariate(1 / interval)
        while at < END:
            if at > 0:
                before, present = present, self.catalogue.version(app, at)
                found.append((at, present))
                if draw.random() < 0.04:
                    found.append((at + draw.random() * 2 * HOUR, before))
                    present = before
            at += draw.expovariate(1 / interval)
        return sorted(found)


Part = Callable[[TraceBuilder], None]


def current(timeline: Timeline, at: float) -> int:
    return timeline[bisect.bisect_right(timeline, (at, float("inf"))) - 1][1]
