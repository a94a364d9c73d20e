"""Kubernetes Events on the Node object: what a cluster holds after what a daemon went through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.app import sources
from reconciler.domain.absorb import absorb
from reconciler.domain.decision import Hold, HoldReason
from reconciler.domain.facts import (
    Fact,
    PolicyLoaded,
    PolicyRejected,
    RemovalBegun,
    RemovalFinished,
    UsageSampled,
)
from reconciler.domain.inventory import FilesystemUsage, UsageSample
from reconciler.domain.missing import missing_in_use
from reconciler.domain.plan import Plan
from reconciler.domain.removal import Removal
from reconciler.domain.space import Gain
from reconciler.domain.state import State
from reconciler.domain.watermark import Pressure
from reconciler.fake_runtime.node import layer
from reconciler.telemetry import logs, node_events
from reconciler.telemetry.journal import LogAndMetrics
from reconciler.telemetry.metrics import Metrics
from reconciler.telemetry.node_events import ApiServer, NodeEvents
from reconciler.telemetry.notes import SETTLE, SPACING

from .api_server import Cluster, cluster
from .builders import container, image, listed, policy
from .whole import GIB, whole

NOW = 1_800_000_000.0
FS = "/var/lib/containerd"
PLACES = {"main": FS, "other": "/other"}


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A pod's surroundings: the server, its environment and its service account."""
    with cluster(tmp_path / "account") as made:
        monkeypatch.setattr(node_events, "SERVICE_ACCOUNT", made.folder)
        for name, value in made.environ.items():
            monkeypatch.setenv(name, value)
        yield made


class Daemon:
    """A daemon's journal at times that the test chooses, and the sender of its notes."""

    def __init__(self, node: str = "node-7", level: str = "info") -> None:
        self.now, self.metrics = NOW, Metrics()
        logs.set_up(True, level)
        self.state, self.journal = State(began_at=NOW), LogAndMetrics(self.metrics)
        self.absorb(PolicyLoaded(NOW, policy(source="policy.yaml")))
        api = ApiServer.of_this_pod()
        assert api is not None
        notes = self.journal.notes
        self.sender = NodeEvents(api, node, notes, self.metrics, lambda: self.now)

    def absorb(self, fact: Fact) -> None:
        absorb(fact, self.state)
        self.journal.absorbed(fact, self.state, self.now)

    def measured(self, **percent: int) -> None:
        """How full the filesystems are, by their names here."""
        found = (
            FilesystemUsage(PLACES[one], 1, 100 * GIB, of * GIB) for one, of in percent.items()
        )
        self.absorb(UsageSampled(UsageSample(self.now, tuple(found))))

    def reclaim(self, images: int) -> None:
        self.measured(main=82)
        for _ in range(images - 1):
            self.removed()
        last = self.begun() if images else None
        self.measured(main=78)
        if last is not None:
            self.finished(last)  # the daemon measures before it reports what a removal freed

    def begun(self, cause: str = "watermark", size: int = GIB) -> Removal:
        filesystems = tuple(self.state.disks.filesystems.values())
        one = image("app:v1")
        removal = Removal(one, one.names, cause, size, size, filesystems=filesystems)
        self.absorb(RemovalBegun(self.now, removal))
        return removal

    def finished(self, removal: Removal, freed: int = GIB) -> None:
        gain = Gain(FS, freed, 0, 82 * GIB, 4 * GIB, short_of_bytes=True, short_of_inodes=False)
        gains = (replace(gain, at_once=freed > 0),)
        self.absorb(RemovalFinished(self.now, removal, True, None, 0.1, gains))

    def removed(self, cause: str = "watermark") -> None:
        self.finished(self.begun(cause))

    def held(self, reason: HoldReason, detail: str) -> None:
        plan = Plan(Hold(reason, detail), (), (), Pressure.RECLAIMING, 2 * GIB)
        self.journal.decided(plan, self.state, self.now)

    def lost(self, detail: str) -> None:
        """The note of a listing that lacks an image in use, with a text that the test chooses."""
        self.journal.notes.warn("ImageInUseMissing", detail, self.now)

    async def send(self, after: float = 0) -> None:
        self.now += after
        await self.sender.send_due(self.now)

    def counted(self, result: str) -> float:
        value = self.metrics.registry.get_sample_value(
            "reconciler_node_events_total", {"result": result}
        )
        return value or 0.0


@pytest.mark.parametrize("level", ["info", "warning"])
async def test_a_reclaim_of_seven_images_is_one_event(there: Cluster, level: str) -> None:
    """An Event for each image would hide all others of the node. The log's level does not matter:
    Events are not made from its lines."""
    daemon = Daemon(level=level)
    daemon.reclaim(7)
    await daemon.send(after=SETTLE)
    (event,) = there.events
    text = "removed 7 images, freed 7 GiB, /var/lib/containerd from 82% to 78%"
    assert (event["reason"], event["type"]) == ("ImagesRemoved", "Normal")
    assert event["message"] == text
    assert event["involvedObject"]["kind"] == "Node"
    assert event["involvedObject"]["name"] == "node-7"
    assert event["firstTimestamp"] == "2027-01-15T08:00:05Z"
    assert daemon.counted("sent") == 1


async def test_space_that_shows_late_counts_for_its_own_filesystem(there: Cluster) -> None:
    """Another one that reclaims at the same time has not freed it."""
    daemon = Daemon()
    daemon.measured(other=81, main=82)
    daemon.finished(daemon.begun(size=3 * GIB), freed=0)
    for full in (79, 79, 78):
        daemon.now += 3
        daemon.measured(other=81, main=full)
    await daemon.send(after=SETTLE)
    (event,) = there.events
    assert event["message"] == "removed 1 image, freed 3 GiB, /var/lib/containerd from 82% to 78%"


async def test_what_goes_below_the_mark_is_no_event(there: Cluster) -> None:
    """Old or expendable images are removed all the time; an Event is about pressure."""
    daemon = Daemon()
    daemon.removed("unused-age")
    daemon.reclaim(0)
    await daemon.send(after=SETTLE)
    assert there.events == []


@pytest.mark.parametrize("level", ["info", "error"])
async def test_trouble_is_a_warning(there: Cluster, level: str) -> None:
    """A node that is full, or lost an image in use, shows that in its Events, however little is
    logged."""
    daemon = Daemon(level=level)
    daemon.measured(main=91)
    daemon.removed()
    daemon.held(HoldReason.LISTING_DUE, "soon over")
    daemon.held(HoldReason.EXHAUSTED, "2 GiB over the low mark")
    daemon.absorb(listed([], [container("web", image("nginx:1"))]))
    daemon.absorb(PolicyRejected(NOW, ("p.yaml:3:1: unknown key",)))
    await daemon.send()
    assert {event["reason"]: event["message"] for event in there.events} == {
        "ImagesExhausted": "2 GiB over the low mark; removed 1 so far",
        "ImageInUseMissing": missing_in_use(daemon.state)[0],
        "PolicyRefused": "p.yaml:3:1: unknown key; in force: the last good one (policy.yaml)",
    }
    assert {event["type"] for event in there.events} == {"Warning"}


async def test_a_reason_is_sent_once_in_five_minutes_and_counted(there: Cluster) -> None:
    """A node in trouble does not flood the cluster; what was held back is in the next one."""
    daemon = Daemon()
    for number in range(1000):
        daemon.lost(f"image {number}")
        await daemon.send(after=0.1)
    assert [event["message"] for event in there.events] == ["image 0"]
    await daemon.send(after=SPACING)
    assert there.events[-1]["message"] == "999 times, the newest: image 999"
    assert there.events[-1]["count"] == 999
    await daemon.send(after=SPACING)
    assert len(there.events) == 2


async def test_a_hostile_name_stays_harmless_and_short(there: Cluster) -> None:
    """Names are untrusted, and a message over 1024 bytes is refused."""
    daemon = Daemon(node="n" * 253)
    daemon.lost("nginx\x1b[2J\u202e\n" + "ü" * 4000)
    await daemon.send()
    (event,) = there.events
    assert event["message"].startswith("nginx\\x1b[2J\\u202e\\nüü")
    assert len(event["message"].encode()) <= 1024


async def test_a_token_that_rotates_is_read_again(there: Cluster) -> None:
    """kubelet replaces the file each hour; the old token expires."""
    daemon = Daemon()
    daemon.lost("one")
    await daemon.send()
    there.token = "second.token"
    (there.folder / "token").write_text("second.token\n")
    daemon.lost("two")
    await daemon.send(after=SPACING)
    assert [event["message"] for event in there.events] == ["one", "two"]


async def test_a_refusal_is_logged_once_and_tried_once(
    there: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the right to create Events there is one line in the log, and no storm of calls."""
    daemon, there.mood = Daemon(), "forbidden"
    for _ in range(2):
        daemon.lost("one")
        await daemon.send(after=SPACING)
        await daemon.send(after=1)
    assert (there.calls, daemon.counted("failed"), there.events) == (2, 2, [])
    there.mood = "ok"
    daemon.lost("two")
    await daemon.send(after=SPACING)
    logged = capsys.readouterr().err
    assert logged.count("node-event-failed") == 1
    assert "403" in logged
    assert "config/kubernetes-events.yaml" in logged
    assert logged.count("node-events-work-again") == 1
    assert len(there.events) == 1


async def test_another_clusters_certificate_gets_no_token(there: Cluster, tmp_path: Path) -> None:
    """A server that cannot prove to be the API server gets nothing."""
    with cluster(tmp_path / "other") as other:
        (there.folder / "ca.crt").write_bytes((other.folder / "ca.crt").read_bytes())
    daemon = Daemon()
    daemon.lost("one")
    await daemon.send()
    assert (there.calls, daemon.counted("failed")) == (0, 1)


async def test_a_hanging_server_is_not_waited_for(
    there: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call at a time, given up after its deadline; later ones fail at once."""
    monkeypatch.setattr(node_events, "DEADLINE", 0.05)
    daemon, there.mood = Daemon(), "hangs"
    daemon.lost("one")
    await daemon.send()
    daemon.reclaim(1)
    await daemon.send(after=SETTLE)
    assert daemon.counted("failed") == 2
    assert there.calls <= 1


@pytest.mark.parametrize("missing", ["token", "host"])
def test_outside_of_a_pod_nothing_is_attempted(
    there: Cluster, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """A node agent without a service account does not look for one."""
    if missing == "token":
        (there.folder / "token").unlink()
    else:
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    assert ApiServer.of_this_pod() is None


@pytest.mark.parametrize("mood", ["ok", "hangs", "down"])
async def test_a_reclaim_is_the_same_whatever_the_api_server_does(
    there: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mood: str
) -> None:
    """The whole daemon frees its disk, and the cluster gets the Event if it answers."""
    there.mood = mood
    if mood == "down":
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    (tmp_path / "images").mkdir()
    async with whole(tmp_path, node_name="node-7", capacity=38 * GIB) as running:
        node = running.node
        for number in range(9):
            name = f"reg.example/app{number}:1"
            node.publish(name, [layer(name, GIB)])
            node.pull(name, 1_700_000_000.0 + number)
        recent = running.daemon.journal.recent
        await running.until(
            lambda: any(o.fields["event"] == "reached-low" for o in recent.after(0))
        )
        removed = 9 - len(node.images)
        assert removed > 1
        if mood == "ok":
            await running.until(lambda: there.events)
            (event,) = there.events
            assert f"removed {removed} images" in event["message"]
            assert event["involvedObject"]["name"] == "node-7"
    if mood == "hangs":
        there.let_go.set()


async def test_without_a_node_name_the_api_server_is_never_called(
    there: Cluster, tmp_path: Path
) -> None:
    """A service account alone does not mean that it should be used."""
    (tmp_path / "images").mkdir()
    async with whole(tmp_path) as running:
        recent = running.daemon.journal.recent
        await running.until(lambda: recent.after(0))
        assert "node events" not in sources(running.daemon)
    assert there.calls == 0
