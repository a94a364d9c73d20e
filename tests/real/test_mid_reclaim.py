"""What happens in the middle of a reclaim: an edit, a restart of either side. None
needs luck to hit the middle: each checks, and fails where nothing was left to remove."""

from __future__ import annotations

import pytest

from reconciler.domain.inventory import image_key

from .containerd import Containerd
from .daemon import Daemon
from .images import MEBIBYTE, Registry, until

SIZE = 3 * MEBIBYTE  # bytes of one image's own layer
COUNT = 24  # images: some 10 ms each, so that the first is long gone before the last


def fill(node: Containerd, registry: Registry) -> dict[str, str]:
    """Pulls unused images; returns their ids by name."""
    return {name: node.workload.pull(name) for name in registry.stock(COUNT, SIZE)}


def use(node: Containerd, registry: Registry) -> str:
    """An image that a running container uses; its id."""
    name = registry.app("used:v1", SIZE)
    image_id = node.workload.pull(name)
    node.workload.run(name)
    return image_id


def test_an_exclusion_saved_in_mid_reclaim_protects_the_next_image_in_line(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """An edit while images go is in force for the very next removal."""
    ids = fill(node, registry)
    daemon.write_policy("1%", "0.5%")
    with daemon:
        daemon.wait_for("removed")
        with daemon.paused():
            assert any(map(node.workload.has, ids.values())), "the reclaim was over already"
            daemon.write_policy("1%", "0.5%", exclusions=[f"{registry.address}/stock*"])
        daemon.wait_for("policy-in-force", count=2)
        left = [name for name, image_id in ids.items() if node.workload.has(image_id)]
        daemon.wait_for("hold")
    events = [one["event"] for one in daemon.lines()]
    second = events.index("policy-in-force", events.index("policy-in-force") + 1)
    assert "removing" not in events[second:], daemon.tail()
    assert left
    assert all(node.workload.has(ids[name]) for name in left), daemon.tail()


@pytest.mark.parametrize("end", ["SIGTERM", "kill -9"])
def test_containerd_restarted_in_mid_reclaim(
    node: Containerd, daemon: Daemon, registry: Registry, end: str
) -> None:
    """The runtime goes away while images go: the daemon waits, and the job is finished."""
    work = node.workload
    kept = use(node, registry)
    fill(node, registry)
    daemon.write_policy("1%", "0.5%")
    with daemon:
        daemon.wait_for("removed")
        node.stop() if end == "SIGTERM" else node.kill()
        assert len(daemon.lines("removed")) < COUNT, "the reclaim was over already"
        node.start()
        until(lambda: len(work.images()) == 2, 60, daemon.tail)
    assert work.has(kept)
    assert daemon.lines("listing-failed"), "it noticed nothing"


def test_daemon_killed_in_mid_reclaim_and_started_again(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """kill -9 in the middle of a reclaim stops nothing: started again, the daemon finishes it. Only
    the image that was about to go then waits, if it is there: what the runtime did is unknown."""
    work = node.workload
    kept = use(node, registry)
    ids = fill(node, registry)
    daemon.write_policy("1%", "0.5%")
    daemon.start()
    daemon.wait_for("removing", count=2)
    daemon.kill()
    assert len(work.images()) > 3, "the reclaim was over already"
    waiting = daemon.unanswered()
    assert len(waiting) <= 1
    for name, image_id in ids.items():
        if image_key(image_id) in waiting:
            work.pull(name)  # there, whether the kill came before the call or after it
    with daemon:
        until(lambda: len(set(map(image_key, work.images())) - waiting) == 2, 60, daemon.tail)
        for image in waiting:
            why = daemon.command("explain", image)
            assert "before a restart" in why.stdout, why.stdout + why.stderr
    assert work.has(kept)
    assert waiting <= set(map(image_key, work.images()))
