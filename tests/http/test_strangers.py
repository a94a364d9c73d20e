"""Clients on the port do not disturb the node: real sockets, three processes."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.bench.on_prepared import home, write_policy
from tests.bench.prepared import PreparedNode
from tests.bench.watched import Watched

from .strangers import IMAGES, Strangers

PATIENCE = 1.0  # seconds: what kubelet's probes allow
SCRAPE = 10.0  # seconds: what Prometheus allows
RATE = 500  # events a second
SECONDS = 4


@dataclass
class Seen:
    """What probes were answered, and how old the events were when they were read."""

    codes: list[int] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)


@pytest.fixture(scope="module")
def node() -> Iterator[tuple[PreparedNode, Watched, int]]:
    """A node of 700 images with a daemon, and the daemon's port."""
    with home() as folder, PreparedNode(folder, 700, 1400) as runtime:
        policy = write_policy(folder, "observe")
        with Watched(runtime.socket, policy, folder, "--used", "0.5", "--steps") as daemon:
            yield runtime, daemon, int(daemon.until_ready("certain")["port"])


def probe(port: int, path: str = "/healthz", patience: float = PATIENCE) -> int:
    """As kubelet does: a new connection, answered within a second."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def watch(runtime: PreparedNode, daemon: Watched, port: int, seconds: int) -> Seen:
    """Sends events and probes for `seconds`."""
    seen = Seen()
    daemon.report()
    runtime.begin(f"events {RATE * seconds} {RATE}")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen.codes += [probe(port), probe(port, "/metrics", SCRAPE)]
        time.sleep(0.1)
    runtime.finish()
    while len(seen.ages) < RATE * seconds and time.monotonic() < end + 10:
        seen.ages += daemon.report()["ages"]
    return seen


@pytest.mark.timed
@pytest.mark.parametrize("path", [IMAGES, "/metrics", "/healthz"])
def test_strangers_take_neither_a_probes_place_nor_an_events(
    node: tuple[PreparedNode, Watched, int], path: str
) -> None:
    """63 idle connections made /healthz answer 503, and kubelet killed the daemon; 60 that asked
    for all images held up the events until pods could not be created."""
    runtime, daemon, port = node
    with Strangers(port, idle=200, slow=200, greedy=60, path=path) as strangers:
        seen = watch(runtime, daemon, port, SECONDS)
    assert set(seen.codes) == {200}
    assert len(seen.ages) == RATE * SECONDS
    assert max(seen.ages) < 1
    assert strangers.answered.get("200", 0) > 0
