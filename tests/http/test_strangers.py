"""Whoever reaches the port, the node does not feel it: real sockets, three processes."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.bench.on_prepared import home, write_policy
from tests.bench.prepared import PreparedNode
from tests.bench.watched import Watched

from .strangers import IMAGES, Strangers

PATIENCE = 1.0  # seconds: what kubelet's probes allow
RATE = 500  # events a second


@dataclass
class Seen:
    """What a probe met, and how old the events were when they were read."""

    codes: list[int] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)


@contextmanager
def node(images: int = 700) -> Iterator[tuple[PreparedNode, Watched, int]]:
    """A node with a daemon, and the daemon's port."""
    with home() as folder, PreparedNode(folder, images, 2 * images) as runtime:
        policy = write_policy(folder, "observe")
        with Watched(runtime.socket, policy, folder, "--used", "0.5", "--steps") as daemon:
            port = int(daemon.until_ready("certain")["port"])
            yield runtime, daemon, port


def probe(port: int, path: str = "/healthz") -> int:
    """As kubelet does: a new connection, answered within a second."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def watch(runtime: PreparedNode, daemon: Watched, port: int, seconds: int) -> Seen:
    """Events and probes for so long."""
    seen = Seen()
    daemon.report()
    runtime.begin(f"events {RATE * seconds} {RATE}")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen.codes += [probe(port), probe(port, "/metrics")]
        time.sleep(0.1)
    runtime.finish()
    while len(seen.ages) < RATE * seconds and time.monotonic() < end + 10:
        seen.ages += daemon.report()["ages"]
    return seen


@pytest.mark.parametrize("path", [IMAGES, "/metrics", "/healthz", "/api/v1/plan"])
def test_strangers_take_neither_a_probes_place_nor_an_events(path: str) -> None:
    """63 idle connections made /healthz answer 503, and kubelet killed the daemon; 60 that asked for
    all images held up the events until pods could not be created."""
    with node() as (runtime, daemon, port):
        with Strangers(port, idle=200, slow=200, greedy=60, path=path) as strangers:
            seen = watch(runtime, daemon, port, 5)
        assert set(seen.codes) == {200}
        assert len(seen.ages) >= RATE * 5
        assert max(seen.ages) < 1
        print(path, max(seen.ages), len(seen.codes))
        print(strangers.answered)
        assert strangers.answered.get("200", 0) > 0
