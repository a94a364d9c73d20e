"""How much memory the daemon holds: `reconciler run`, HTTP on, with a prepared node, with the
environment that config/reconciler.service gives it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.real.daemon import Daemon
from tests.real.images import until

from .figures import Figure, median, resident
from .on_prepared import home
from .prepared import PreparedNode

FLOOR = "import grpc.aio, sys; print(flush=True); sys.stdin.read()"
UNIT = Path(__file__).parents[2] / "config" / "reconciler.service"
LISTINGS = 30
MILLION = 1_000_000


def shipped() -> dict[str, str]:
    """The environment of the unit we ship; the image sets the same."""
    lines = UNIT.read_text().splitlines()
    variables = [
        line.removeprefix("Environment=") for line in lines if line.startswith("Environment=")
    ]
    return dict(one.split("=", 1) for one in variables)


def floor(tries: int = 3) -> float:
    """Bytes of a process that imports grpc.aio and does nothing, in the same environment."""
    found = []
    environment = os.environ | shipped()
    for _ in range(tries):
        with subprocess.Popen(
            [sys.executable, "-c", FLOOR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        ) as idle:
            assert idle.stdout is not None
            idle.stdout.readline()
            found.append(resident(idle.pid))
            idle.communicate()
    return median(found)


def at_two_sizes() -> list[Figure]:
    """A small node, and a big one after 30 listings."""
    least = floor()
    small, _ = _grown(100, 200, listings=3)
    big, _ = _grown(1000, 5000, listings=LISTINGS)
    name = "RSS / RSS of importing grpc.aio"
    return [
        _figure(f"{name}, 100 and 200", small, least, 1.8),
        _figure(f"{name}, 1,000 and 5,000, 30 listings", big, least, 2.5),
    ]


def after_a_million_events() -> list[Figure]:
    """The big node after a million events, against itself before them."""
    before, after = _grown(1000, 5000, listings=LISTINGS, events=MILLION)
    return [_figure("RSS after 1,000,000 events / before them", after, before, 1.05)]


def _figure(name: str, value: float, of: float, target: float) -> Figure:
    made_of = {"MiB": value / 2**20, "of MiB": of / 2**20}
    return Figure(name, value / of, target, "times", made_of)


def _grown(images: int, containers: int, listings: int, events: int = 0) -> tuple[float, float]:
    """Bytes after `listings` listings, and after `events` events on top."""
    with home() as folder, PreparedNode(folder, images, containers) as node:
        daemon = Daemon(node.endpoint, folder / "daemon")
        daemon.environment = shipped()
        daemon.write_policy("99%", "98%", mode="observe")
        with daemon:
            address = str(daemon.wait_for("starting")["listen"])
            pid = daemon.pid
            scrape(address)
            while node.order("doubt")["listings"] < listings:
                time.sleep(0.5)
            _settle(node, listings)
            scrape(address)
            before = resident(pid)
            if events:
                node.order(f"events {events} 0")
                _settle(node, int(node.order("none")["listings"]) + 1)
                scrape(address)
            return before, resident(pid)


def _settle(node: PreparedNode, listings: int) -> None:
    """Waits until `listings` listings were made, and the daemon has handled the last one."""
    until(lambda: node.order("none")["listings"] >= listings, 60, "no listing came")
    time.sleep(2)


def scrape(address: str) -> bytes:
    """One look at the metrics, as Prometheus takes it."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        return bytes(answer.read())
