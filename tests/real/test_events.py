"""What container events are for on real containerds, and that the daemon is right without them."""

from __future__ import annotations

from .containerd import Containerd
from .daemon import Daemon
from .images import MEBIBYTE, Registry, until
from .subscriber import Subscriber

SIZE = 4 * MEBIBYTE  # bytes of one image's own layer
CREATED, STARTED = 0, 1
FAR = ("90%", "89%")  # marks out of reach, until the story fills the disk over them


def test_a_new_container_is_noticed_within_a_second_where_there_are_events(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """A container that lived briefly between two listings counts as a use. On 1.6,
    without events, the daemon says that it lives on listings, and counts what they show."""
    work = node.workload
    name = registry.app("short:v1", SIZE)
    work.pull(name)
    daemon.write_policy(*FAR)
    with daemon:
        for _ in range(3 if node.has_events else 1):
            before = noticed(node, daemon)
            pod, _ = work.run(name)
            until_noticed(node, daemon, before)
            work.remove_pod(pod)
        cross(node)
        until(lambda: daemon.removed(name), 60, daemon.tail)
        up = daemon.metric("reconciler_event_stream_up")
    assert up == node.has_events
    assert daemon.uses(name) == (3 if node.has_events else 1)
    if not node.has_events:
        assert "living on listings" in daemon.wait_for("events-absent")["detail"]


def test_another_subscriber_costs_nothing_but_latency(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """On 1.7 every event goes to one subscriber only: the daemon misses those that went to the
    other, and still keeps what is in use, removes the others, and counts every use."""
    work = node.workload
    name = registry.app("shared:v1", SIZE)
    used, unused = work.pull(name), work.pull(registry.app("unused:v1", SIZE))
    daemon.write_policy(*FAR)
    with Subscriber(str(node.socket)) as earlier:
        earlier.begin_to_receive(work)
    with daemon, Subscriber(str(node.socket)) as other:
        pods = [work.run(name)[0] for _ in range(6)]
        until(lambda: other.received or other.unsupported, 10, "the other one received nothing")
        cross(node)
        until(lambda: not work.has(unused), 60, daemon.tail)
        assert work.has(used), daemon.tail()
        events = [f'reconciler_events_total{{kind="{kind}"}}' for kind in ("created", "started")]
        ours = sum(map(daemon.metric, events))
        for pod in pods:
            work.remove_pod(pod)
        until(lambda: daemon.removed(name), 60, daemon.tail)
    assert daemon.uses(name) == len(pods)
    if node.major == "1.7":
        theirs = [one for one in other.received if one[1] in (CREATED, STARTED)]
        assert ours < 4 * len(pods), "no event went to the other one"
        assert theirs


def test_with_events_off_another_subscriber_has_all_of_them(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """`--events off` leaves the events of 1.7 to others; the daemon lives on listings,
    says so, and does its work."""
    work = node.workload
    name = registry.app("shared:v1", SIZE)
    used, unused = work.pull(name), work.pull(registry.app("unused:v1", SIZE))
    daemon.write_policy(*FAR)
    daemon.run_flags += ["--events", "off"]
    with daemon, Subscriber(str(node.socket)) as other:
        containers = [work.run(name)[1] for _ in range(6)]
        wanted = {(one, kind) for one in containers for kind in (CREATED, STARTED)}
        until(lambda: other.unsupported or wanted <= set(other.received), 10, "it missed events")
        cross(node)
        until(lambda: not work.has(unused), 60, daemon.tail)
        assert work.has(used), daemon.tail()
    assert "--events off" in daemon.wait_for("events-absent")["detail"]
    assert other.unsupported == (not node.has_events)


def noticed(node: Containerd, daemon: Daemon) -> float:
    """How many start events the daemon has received, or how often it has listed without events."""
    name = 'events_total{kind="started"}' if node.has_events else 'listings_total{result="ok"}'
    return daemon.metric(f"reconciler_{name}")


def until_noticed(node: Containerd, daemon: Daemon, before: float) -> None:
    """Waits until it has noticed more than `before`: within a second by an event; without events
    until the second listing from now, which begins after now."""
    if node.has_events:
        until(lambda: noticed(node, daemon) > before, 1, daemon.tail)
    else:
        enough = noticed(node, daemon) + 2
        until(lambda: noticed(node, daemon) >= enough, 60, daemon.tail)


def cross(node: Containerd) -> None:
    """Fills the filesystem over the marks, so far that one or two images cannot bring it back."""
    node.fill(node.capacity() * 91 // 100 - node.used_bytes())
