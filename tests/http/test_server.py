"""The HTTP server on a real loopback socket: health, readiness, metrics, and nothing but GET."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread
import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from reconciler import app as daemon_app
from reconciler.domain.absorb import absorb
from reconciler.domain.facts import ListingFailed, PolicyRejected, UsageSampled
from reconciler.domain.inventory import FilesystemUsage, InvisibleFilesystem, UsageSample
from reconciler.domain.neutral import neutralised
from reconciler.domain.state import State
from reconciler.host.systemd import Notifier
from reconciler.http import server
from reconciler.http.health import SILENCE, Pulse
from reconciler.http.view import View
from reconciler.store.history import Entry
from reconciler.telemetry.metrics import Metrics
from reconciler.telemetry.recent import Recent
from tests.builders import GIB, T0, image, state_of
from tests.engine.test_reclaim import full_world
from tests.engine.world import Clock

HOSTILE = '/images"} evil 1\n# \\x\u202e\x1b[31m'


@dataclass
class Answer:
    code: int
    text: str
    kind: str
    location: str = ""


class Served:
    """A server on a free port, with the state and the pulse that it reads."""

    def __init__(self, state: State, metrics: Metrics | None = None) -> None:
        self.monotonic = Clock(0.0)
        self.pulse = Pulse(self.monotonic)
        self.metrics = metrics or Metrics()
        self.app = server.application(
            View(
                state=state,
                pulse=self.pulse,
                metrics=self.metrics,
                recent=Recent(),
                clock=Clock(),
                history=_no_history,
                submit=lambda fact: None,
                latest=lambda: None,
                began_at=T0,
            )
        )
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Served]:
        bound = server.listening("127.0.0.1", 0)
        self.port = bound.getsockname()[1]
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, bound, self.app)
            yield self
            group.cancel_scope.cancel()

    async def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> Answer:
        return await anyio.to_thread.run_sync(self._ask, path, method, headers or {})

    def _ask(self, path: str, method: str, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            body = response.read().decode()
            found = response.headers
            kind, location = found.get("Content-Type", ""), found.get("Location", "")
            return Answer(response.status, body, kind, location)
        finally:
            connection.close()


async def _no_history(count: int, since: float, image: str) -> tuple[Entry, ...]:
    return ()


def ready_state() -> State:
    return state_of([image("app:v1", GIB)])


async def test_a_ready_daemon_answers_its_probes() -> None:
    """Liveness and readiness, which kubelet probes separately, are both fine."""
    async with Served(ready_state()).serving() as served:
        assert (await served.ask("/healthz")).code == 200
        assert (await served.ask("/readyz")).code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_nothing_but_get_is_answered(path: str, method: str) -> None:
    """The server shows and changes nothing."""
    async with Served(ready_state()).serving() as served:
        assert (await served.ask(path, method)).code == 405


async def test_what_is_missing_for_readiness_is_shown_a_line_each() -> None:
    """A daemon that waits says for what, and is healthy all the while."""
    state = State(began_at=T0)
    absorb(ListingFailed(T0, "connection refused"), state)
    absorb(PolicyRejected(T0, ("policy.yaml:3:1: unknown key modus",)), state)
    lost = InvisibleFilesystem("/images", "cannot be measured")
    absorb(UsageSampled(UsageSample(T0, invisible=(lost,))), state)
    async with Served(state).serving() as served:
        answer = await served.ask("/readyz")
        assert answer.code == 503
        for reason in ("connection refused", "policy.yaml:3:1", "/images: cannot"):
            assert reason in answer.text
        assert (await served.ask("/healthz")).code == 200


async def test_a_loop_that_stalled_is_not_healthy() -> None:
    """On containerd 2.x a frozen reader stops pod creation: the probe must fail, to be killed."""
    async with Served(ready_state()).serving() as served:
        served.monotonic.advance(SILENCE + 1)
        answer = await served.ask("/healthz")
        assert answer.code == 503
        assert "has not turned for 16 s" in answer.text
        served.pulse.beat(1.0)
        assert (await served.ask("/healthz")).code == 200


async def test_a_pass_that_awaits_a_slow_removal_is_healthy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A removal of minutes is not a stall: it gets its time, and the pulse continues."""
    monkeypatch.setattr(daemon_app, "BEAT", 0)
    world = await full_world()
    under_way, answer = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        under_way.set()
        await answer.wait()

    world.runtime.during["remove_image"] = slow
    served = Served(world.state)
    async with served.serving(), anyio.create_task_group() as group:
        group.start_soon(daemon_app.beat, served.pulse, Notifier(None))
        group.start_soon(world.turn)
        await under_way.wait()
        for _ in range(10):
            served.monotonic.advance(60)
            await anyio.lowlevel.checkpoint()
            assert (await served.ask("/healthz")).code == 200
        answer.set()
        group.cancel_scope.cancel()


async def test_metrics_are_prometheus_text_whatever_the_mountpoint_is_called() -> None:
    """A name that looks like a sample stays a label's value, and an escape sequence is shown."""
    usage = FilesystemUsage(HOSTILE, 1, 100 * GIB, 90 * GIB, 1000, 10)
    state, metrics = ready_state(), Metrics()
    fact = UsageSampled(UsageSample(T0, (usage,)))
    absorb(fact, state)
    metrics.absorbed(fact, state)
    async with Served(state, metrics).serving() as served:
        answer = await served.ask("/metrics")
    assert answer.code == 200
    assert answer.kind.startswith("text/plain")
    samples = [one for family in parsed(answer.text) for one in family.samples]
    assert not [one for one in samples if one.name == "evil"]
    used = [one for one in samples if one.name == "reconciler_filesystem_used_bytes"]
    assert [(one.labels["mountpoint"], one.value) for one in used] == [
        (neutralised(HOSTILE), 90 * GIB)
    ]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("text/plain;version=x", "text/plain"),
        ("text/plain;version=\xb2.0.0", "text/plain"),
        ("application/openmetrics-text;q=0", "text/plain"),
        ("application/openmetrics-text;version=1.0.0;q=0.5,*/*", "application/openmetrics-text"),
        ("application/openmetrics-text; version=abc", "application/openmetrics-text"),
        ("application/openmetrics-text; version=99.0.0", "application/openmetrics-text"),
    ],
)
async def test_a_scraper_gets_a_format_that_it_accepts_in_our_version(
    accept: str, kind: str
) -> None:
    """A version that is none was an error, and each that there is none of was made anew."""
    async with Served(ready_state()).serving() as served:
        answer = await served.ask("/metrics", headers={"Accept": accept})
    assert answer.code == 200
    assert answer.kind.startswith(kind)
    assert "99" not in answer.kind


async def test_a_client_comes_from_where_it_comes_and_not_from_where_it_says() -> None:
    """Through a forged header, one client would have the share of many."""
    async with Served(ready_state()).serving() as served:
        headers = {"X-Forwarded-For": "10.9.9.9", "X-Forwarded-Proto": "https"}
        answer = await served.ask("/page", headers=headers)
    assert answer.location == f"http://127.0.0.1:{served.port}/page/"


@pytest.mark.parametrize(
    ("host", "port"),
    [("ä..ö", 80), ("a..b", 80), ("x" * 70 + ".example", 80), ("\udcff", 80), ("127.0.0.1", 65536)],
)
def test_an_address_that_there_can_not_be_is_one_line_and_no_traceback(
    host: str, port: int
) -> None:
    """A host that does not encode raised what nobody expected of a socket: `run` ended with a
    traceback instead of the name of the flag to change."""
    with pytest.raises(server.ListenFailed, match=r"cannot listen on .*--listen$") as failed:
        server.listening(host, port)
    assert str(failed.value).isprintable()


def test_an_address_in_use_is_reported_with_what_to_do() -> None:
    """Before anything else has started."""
    bound = server.listening("127.0.0.1", 0)
    port = bound.getsockname()[1]
    try:
        with pytest.raises(server.ListenFailed, match=rf"127\.0\.0\.1:{port}.*--listen"):
            server.listening("127.0.0.1", port)
    finally:
        bound.close()
