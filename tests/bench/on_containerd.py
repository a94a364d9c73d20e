"""Figures on a real containerd 2.x with real images on a real filesystem; needs root on Debian."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tests.real.containerd import Containerd
from tests.real.daemon import Daemon
from tests.real.debs import install_tools, what_is_missing
from tests.real.images import MEBIBYTE, Registry, noise, until

from . import bare
from .figures import Figure, median, quantile
from .on_prepared import home
from .watched import Watched
from .wire import Wire

LAYER = 256 * 1024  # bytes of a layer that is an image's own
KIBIBYTE = 1024
BAND = 256 * KIBIBYTE  # bytes between the marks


class Unavailable(Exception):
    """No real containerd can run here; the text says why."""


@contextmanager
def containerd(folder: Path) -> Iterator[tuple[Containerd, Registry]]:
    """A containerd 2.x and a registry, from `with` to its end."""
    missing = what_is_missing()
    if missing is not None:
        raise Unavailable(missing)
    install_tools()
    with Registry(folder / "registry") as registry, Containerd("2.x", registry) as node:
        yield node, registry


def push(registry: Registry, count: int) -> list[str]:
    """Images of three layers: one they share, two of their own."""
    return [
        registry.push(f"app{n}:v1", [noise(LAYER, f"{n}-{part}") for part in range(2)])
        for n in range(count)
    ]


def crossing_to_removal(rounds: int = 200) -> list[Figure]:
    """A file on the image filesystem grows over the high mark, again and again: from the sample
    that sees it to the first RemoveImage on the wire, in round trips of `Version` on that wire.

    Samples are taken ten times a second, not once, so that it ends before long.
    """
    spans, trips = [], []
    with (
        home() as folder,
        containerd(folder) as (node, registry),
        Wire(folder, node.socket) as wire,
    ):
        for name in push(registry, rounds):
            node.workload.pull(name)
        high = node.used_bytes() // KIBIBYTE * KIBIBYTE + 64 * MEBIBYTE
        marks = f"{high // KIBIBYTE}Ki", f"{(high - BAND) // KIBIBYTE}Ki"
        own = Daemon(node.endpoint, folder / "daemon")
        own.write_policy(*marks, minimum_size="0")
        with Watched(wire.socket, own.policy, folder, "--every", "0.1") as daemon:
            daemon.until_ready("certain")
            for number in range(rounds):
                if number % 10 == 0:
                    trips += asyncio.run(bare.versions(str(wire.socket), 30))
                time.sleep(random.uniform(0.3, 0.4))
                spans.append(_cross(node, wire, daemon, high))
    trip = median(trips)
    made_of = {
        "p50 ms": 1e3 * median(spans),
        "p99 ms": 1e3 * quantile(spans, 0.99),
        "Version ms": 1e3 * trip,
        "crossings": rounds,
    }
    name = "crossing sample to RemoveImage on the wire / Version"
    return [
        Figure(f"{name}, p50", median(spans) / trip, 15, "times", made_of),
        Figure(f"{name}, p99", quantile(spans, 0.99) / trip, 60, "times"),
    ]


def _cross(node: Containerd, wire: Wire, daemon: Watched, high: int) -> float:
    """Fills up to just over the mark; seconds from the first sample that saw it."""
    daemon.report()
    filler = node.disk / "filler"
    size = filler.stat().st_size if filler.exists() else 0
    with filler.open("ab") as file:
        os.posix_fallocate(file.fileno(), 0, size + high - node.used_bytes() + 64 * KIBIBYTE)
    try:
        passed = wire.removal(10)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; the daemon's log: {daemon.log()}") from error
    # On a busy disk a removal takes longer than the pause between two crossings. What is measured
    # and filled up before its end is no crossing after it.
    until(lambda: node.used_bytes() <= high - BAND, 60, lambda: f"not freed: {daemon.log()}")
    time.sleep(0.15)  # the next sample sees it below the low mark
    samples = daemon.report()["samples"]
    return passed - min(float(at) for at, used in samples if used >= high)


def reclaim_of_a_hundred(rounds: int = 5, count: int = 100) -> list[Figure]:
    """A hundred images of three layers: `reconciler run` from the sample that crosses the mark to
    the last removal confirmed, against bare calls, in turns."""
    ours, loops = [], []
    with home() as folder, containerd(folder) as (node, registry):
        names = push(registry, count)
        _pull(node, names)
        node.workload.remove_all()  # the first time everything is slower
        node.workload.pull(f"{registry.address}/pause:3.10")
        empty = node.used_bytes()
        for number in range(rounds):
            _pull(node, names)
            loops.append(bare.seconds("removals", node.socket))
            _pull(node, names)
            ours.append(_reclaim(node, Daemon(node.endpoint, folder / str(number)), empty, count))
    made_of = {"daemon s": median(ours), "loop s": median(loops), "rounds": rounds}
    name = "reclaim of 100 images, all confirmed / bare loop"
    return [Figure(name, median(ours) / median(loops), 1.35, "times", made_of)]


def _pull(node: Containerd, names: list[str]) -> None:
    for name in names:
        node.workload.pull(name)


def _reclaim(node: Containerd, daemon: Daemon, empty: int, count: int) -> float:
    """Seconds that the daemon takes for all of them, by its own log."""
    daemon.write_policy("99%", "98%", minimum_size="0")
    low = empty // KIBIBYTE + 512
    with daemon:
        time.sleep(2)
        daemon.write_policy(f"{low + 1024}Ki", f"{low}Ki", minimum_size="0")
        daemon.wait_for("removed", count, 60)  # by its log: to ask the runtime would cost it time
        assert len(node.workload.images()) == 1, daemon.tail()
    began, ended = daemon.lines("crossed-high")[0], daemon.lines("removed")[count - 1]
    return _seconds(ended) - _seconds(began)


def _seconds(line: dict[str, str]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def create_container(rounds: int = 8, count: int = 40) -> list[Figure]:
    """CreateContainer with `reconciler run` attached to the same containerd, and without, in
    turns; the ratio of the medians of all."""
    without: list[float] = []
    attached: list[float] = []
    with home() as folder, containerd(folder) as (node, registry):
        name = push(registry, 1)[0]
        node.workload.pull(name)
        pod = node.workload.run_pod()
        daemon = Daemon(node.endpoint, folder / "daemon")
        daemon.write_policy("99%", "98%")
        _creations(node, pod, name, count)
        for _ in range(rounds):
            without += _creations(node, pod, name, count)
            with daemon:
                time.sleep(1)
                attached += _creations(node, pod, name, count)
    made_of = {
        "attached ms": 1e3 * median(attached),
        "without ms": 1e3 * median(without),
        "of each": len(attached),
    }
    value = median(attached) / median(without)
    return [Figure("CreateContainer, attached / without", value, 1.05, "times", made_of)]


def _creations(node: Containerd, pod: str, name: str, count: int) -> list[float]:
    """Seconds of each of `count` calls; every container is removed again, which does not count."""
    took = []
    for _ in range(count):
        began = time.monotonic()
        container = node.workload.create(pod, name)
        took.append(time.monotonic() - began)
        node.workload.remove(container)
    return took
