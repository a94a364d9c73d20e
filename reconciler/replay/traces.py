"""Pasts rebuilt from real traces, read from a folder and never kept: docs/eviction.md says where
they come from and under which licence.

    azure2019_1000_inv.csv   invocations a minute of 1,000 functions over one day
    prow_periodics.json.gz   Kubernetes' own periodic CI jobs, with their images, day by day
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .catalogue import App, Catalogue, lognormal
from .trace import DAY, HOUR
from .trace_builder import TraceBuilder

FUNCTIONS = 400  # that one node hosts
KEPT_ALIVE = 600.0  # seconds that a function's container waits for the next invocation
CLUSTER, NODES = "k8s-infra-prow-build", 40
UTILITIES = ("clonerefs", "initupload", "entrypoint", "sidecar")
_UNITS = {"h": 3600, "m": 60, "s": 1}
_DAYS = {"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6}
FIRST_DAY = 6  # the trace begins on a Saturday


def azure(seed: int, folder: Path) -> tuple[TraceBuilder, float, float]:
    """Real arrivals, made-up images: a day of 400 functions; with warm-up and end in seconds."""
    draw = random.Random(f"azure:{seed}")
    builder = TraceBuilder(draw, Catalogue(draw, bases=4, runtimes=12))
    with (folder / "azure2019_1000_inv.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    draw.shuffle(rows)
    for row in rows[:FUNCTIONS]:
        app = builder.catalogue.app(dependencies=(40, 1.2), own=(10, 1.0))
        image = builder.catalogue.version(app, 0)
        begun = last = None
        for minute, invocations in enumerate(row[3:]):
            if float(invocations) <= 0:
                continue
            at = minute * 60.0 + draw.random() * 59
            if begun is None or last is None or at - last > KEPT_ALIVE:
                if begun is not None and last is not None:
                    builder.start(begun, last - begun + KEPT_ALIVE, image)
                begun = at
            last = at
        if begun is not None and last is not None:
            builder.start(begun, last - begun + KEPT_ALIVE, image)
    return builder, 4 * HOUR, DAY


def prow(seed: int, folder: Path) -> tuple[TraceBuilder, float, float]:
    """A real schedule with real tags, made-up sizes and placement: 42 days of one node of 40."""
    draw = random.Random(f"prow:{seed}")
    builder = TraceBuilder(draw, Catalogue(draw, bases=5, runtimes=10))
    with gzip.open(folder / "prow_periodics.json.gz", "rt") as file:
        days = json.load(file)
    images = _Named(builder)
    for day, listed in enumerate(days):
        for job in listed["jobs"]:
            if job["c"] != CLUSTER or not job["im"]:
                continue
            for at in _runs(job, day, random.Random(f"{seed}:{job['n']}")):
                if draw.random() < 1 / NODES:
                    lasted = min(3 * HOUR, lognormal(draw, 1500, 0.9))
                    for name in job["im"]:
                        builder.start(at + draw.random() * 30, lasted, images.of(name, at))
                    for name in listed["util"]:
                        builder.start(at + draw.random() * 20, lasted, images.of(name, at))
    return builder, 10 * DAY, len(days) * DAY


class _Named:
    """Images by their real names, each made when it is first asked for."""

    def __init__(self, builder: TraceBuilder) -> None:
        self._builder, self._apps = builder, dict[str, App]()
        self._images: dict[str, int] = {}

    def of(self, name: str, at: float) -> int:
        if name not in self._images:
            repository = name.rpartition(":")[0] or name
            if repository not in self._apps:
                self._apps[repository] = self._app(repository.rpartition("/")[2])
            catalogue = self._builder.catalogue
            self._images[name] = catalogue.version(self._apps[repository], at, 0.5, name)
        return self._images[name]

    def _app(self, what: str) -> App:
        app = self._builder.catalogue.app
        if what == "kubekins-e2e":
            return app(dependencies=(900, 0.15), own=(150, 0.2))
        if what == "krte":
            return app(dependencies=(350, 0.15), own=(60, 0.2))
        if what in UTILITIES:
            return app(dependencies=(3, 0.2), own=(18, 0.2), runtime=0)
        return app(dependencies=(80, 1.0), own=(30, 1.0))


def _runs(job: dict[str, Any], day: int, draw: random.Random) -> Iterator[float]:
    """When a job runs on one day: by its interval, from a phase of its own, or by its schedule."""
    begin, phase = day * DAY, draw.random()
    if job["i"]:
        found = re.findall(r"(\d+)([hms])", str(job["i"]))
        every = sum(int(count) * _UNITS[unit] for count, unit in found)
        if every < 60:
            return
        number = math.ceil((begin - phase * every) / every)
        while phase * every + number * every < begin + DAY:
            yield phase * every + number * every
            number += 1
    elif job["cron"]:
        schedule = _schedule(str(job["cron"]))
        if schedule is None or (FIRST_DAY + day) % 7 not in schedule[2]:
            return
        for hour in sorted(schedule[1]):
            for minute in sorted(schedule[0]):
                yield begin + hour * HOUR + minute * 60


def _schedule(text: str) -> tuple[set[int], set[int], set[int]] | None:
    """Minutes, hours and days of the week; None for what is not a schedule of five fields."""
    fields = text.split()
    if len(fields) < 5:
        return None
    try:
        days = {day % 7 for day in _field(fields[4], 0, 7)}
        return _field(fields[0], 0, 59), _field(fields[1], 0, 23), days
    except ValueError:
        return None


def _field(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = map(_number, span.split("-"))
        else:
            first = _number(span)
            last = high if slash and int(step) > 1 else first
        found.update(range(first, last + 1, int(step) if slash else 1))
    return found


def _number(text: str) -> int:
    name = text.upper()
    return _DAYS[name] if name in _DAYS else int(text)
