"""Pulls at full speed over an auto mark, again and again, with a stand-in for kubelet that looks at
the disk as kubelet does."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from .containerd import Containerd
from .daemon import Daemon
from .disk import write_out
from .images import Registry

COUNT = 48  # images
# Of the disk, which all of the images take together, packed and unpacked. btrfs shows what was
# freed every 30 s: on a small disk pulls at full speed take more than a tenth of it until then.
SHARES = {"ext4": 0.225, "btrfs": 0.06}
BEGIN = 0.79  # of the disk in use, when it begins: half of the images, and a file of no image's
EVICTION_LOOKS, GC_LOOKS = 10.0, 300.0  # seconds between kubelet's looks
GLANCE = 0.02  # seconds between looks of an observer who misses nothing

POLICY = """\
apiVersion: reconciler/v1
kind: ImagePolicy
mode: enforce
watermarks: auto
minimumAge: 0s
comeBackFor: 0s
system: {enabled: false}
"""


@dataclass
class StandIn:
    """kubelet as it is shipped, but it only notes when it would have acted."""

    disk: Path
    evicted: list[float] = field(default_factory=list)  # percent in use, at its looks
    collected: list[float] = field(default_factory=list)
    above: int = 0  # looks of one who misses nothing, of `looks`, at which a line was crossed
    looks: int = 0
    highest: float = 0.0  # percent in use

    def watch(self, until: threading.Event) -> None:
        began = time.monotonic()
        evicts = itertools.count(1)
        collects = itertools.count(1)
        next_eviction, next_gc = next(evicts) * EVICTION_LOOKS, next(collects) * GC_LOOKS
        while not until.wait(GLANCE):
            found = os.statvfs(self.disk)
            capacity, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
            used = 100 * (capacity - free) / capacity
            self.looks += 1
            self.highest = max(self.highest, used)
            evicts_now = free < int(capacity * float32(0.15))
            collects_now = 100 - int(free * 100 / capacity) >= 85
            self.above += evicts_now or collects_now
            at = time.monotonic() - began
            if at >= next_eviction:
                next_eviction = next(evicts) * EVICTION_LOOKS
                self.evicted += [used] if evicts_now else []
            if at >= next_gc:
                next_gc = next(collects) * GC_LOOKS
                self.collected += [used] if collects_now else []

    @property
    def acted(self) -> int:
        return len(self.evicted) + len(self.collected)


def float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


@dataclass
class Crossed:
    """The results of all crossings, in bytes, the oldest first."""

    overshoots: list[int]
    margins: list[int]
    capacity: int
    kubelet: StandIn
    seconds: float
    removed: int


def crossings(
    registry: Registry,
    folder: Path,
    kind: str,
    size: int,
    count: int,
    seconds: float,
    pullers: int,
) -> Crossed:
    """Pulls `pullers` images at a time until usage crossed the mark `count` times, or for
    `seconds`, on a new containerd 2.x with a filesystem of a kind. `size`: bytes of each image's
    own layer."""
    names = registry.stock(COUNT, size)
    with Containerd("2.x", registry, int(2 * size * COUNT / SHARES[kind]), kind=kind) as node:
        for name in names[::2]:
            node.workload.pull(name)
        write_out(node.disk)
        with (node.disk / "others").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, int(BEGIN * node.capacity()) - node.used_bytes())
        kubelet, over = StandIn(node.disk), threading.Event()
        daemon = Daemon(node.endpoint, folder)
        daemon.policy.write_text(POLICY)
        began = time.monotonic()
        with daemon, running(kubelet, over), pulling(node, names, pullers, over):
            while time.monotonic() - began < seconds:
                if len(daemon.lines("reached-low")) >= count:
                    break
                time.sleep(1)
        reached = daemon.lines("reached-low")
        return Crossed(
            [line["overshoot_bytes"] for line in reached if line["overshoot_bytes"] is not None],
            [line["margin_bytes"] for line in reached],
            node.capacity(),
            kubelet,
            time.monotonic() - began,
            len(daemon.lines("removed")),
        )


@contextlib.contextmanager
def running(kubelet: StandIn, over: threading.Event) -> Iterator[None]:
    watcher = threading.Thread(target=kubelet.watch, args=(over,))
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@contextlib.contextmanager
def pulling(
    node: Containerd, names: list[str], pullers: int, over: threading.Event
) -> Iterator[None]:
    """Pulls in several threads, each through all names from its own start, until it is over."""

    def pull(first: int) -> None:
        for name in itertools.cycle(names[first:] + names[:first]):
            if over.is_set():
                return
            with contextlib.suppress(grpc.RpcError, AssertionError):  # gone again by now
                node.workload.pull(name)

    threads = [
        threading.Thread(target=pull, args=(number * len(names) // pullers,))
        for number in range(pullers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
