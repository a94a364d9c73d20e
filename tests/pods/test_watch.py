"""The ladder: who is asked in which order, what a loss leads to, and what is reported when nobody
answers. Scripted sources replace the real ones, except in the last tests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.aiokit import Mailbox
from reconciler.domain import facts
from reconciler.domain.facts import PodGone, PodReported, PodsLost, PodsReported
from reconciler.domain.pods import Pod
from reconciler.pods import watch
from reconciler.pods.source import PodsUnavailable, Put
from reconciler.pods.watch import AGAIN, Place, PodWatch, look
from reconciler.settings import Settings, resolve
from tests.builders import HANGS
from tests.programs import output_of

from .standins import NODE, Naps, PodsApi, json_list, json_pod, pod, pod_list, web

NOW = 1_800_000_000.0
ALL = PodsReported(NOW, "", (Pod("1", "shop/app"),), "a test")


class Scripted:
    """A source whose watches are set beforehand: the facts of each, and how it ends; None: it does
    not. Each watch takes `lasting` seconds."""

    where = "a test"

    def __init__(self, name: str, *watches: tuple[list[Any], object], lasting: float = 0) -> None:
        self.name, self.watches, self.lasting = name, list(watches), lasting
        self.answers = False  # whether `ask` does
        self.asked = 0
        self.now: Callable[[float], None] = lambda seconds: None

    async def ask(self, timeout: float) -> tuple[Pod, ...]:
        self.asked += 1
        if not self.answers:
            raise PodsUnavailable(f"no {self.name}")
        return ALL.pods

    async def watch(self, put: Put) -> None:
        facts, end = self.watches.pop(0) if self.watches else ([], f"no {self.name}")
        for fact in facts:
            put(fact)
        self.now(self.lasting)
        if end is None:
            await asyncio.Event().wait()
        raise end if isinstance(end, Exception) else PodsUnavailable(str(end))


class Story:
    """A watch on scripted sources, and what it left in the mailbox."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, mode: str = "auto", naps: Naps | None = None,
        **sources: Scripted,
    ) -> None:  # fmt: skip
        self.now = NOW
        self.mailbox: Mailbox[facts.Fact] = Mailbox()
        self.sources = {
            name: sources.get(name) or Scripted(name) for name in ("socket", "kubelet", "api")
        }
        for source in self.sources.values():
            source.now = self.advance
        monkeypatch.setattr(
            Place,
            "source",
            lambda place, name, clock, under_pressure=None, sleep=None: self.sources[name],
        )
        place = Place(mode, Path("/none"), None, None, None, "")
        self.naps = naps or Naps()
        self.watch = PodWatch(place, self.mailbox, lambda: self.now, lambda: False, self.naps)
        self.place = place

    def advance(self, seconds: float) -> None:
        self.now += seconds

    async def once(self) -> tuple[list[facts.Fact], float]:
        delay = await asyncio.wait_for(self.watch.once(), HANGS)
        return self.mailbox.drain(), delay


def near(seconds: float) -> object:
    return pytest.approx(seconds, rel=0.21)


async def test_nobody_to_ask_is_one_sentence_with_every_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Silence would read as "no pods", and a bare "lost" would not say what to do."""
    story = Story(monkeypatch)
    facts, delay = await story.once()
    assert facts == [
        PodsLost(
            NOW,
            "no source reports this node's pods; "
            "socket: no socket; kubelet: no kubelet; api: no api",
        )
    ]
    assert delay == near(AGAIN)


@pytest.mark.parametrize("mode", ["socket", "kubelet", "api"])
async def test_a_source_that_was_named_is_asked_alone(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """An operator who chose one does not want a token used elsewhere."""
    facts, _ = await Story(monkeypatch, mode).once()
    (lost,) = facts
    assert isinstance(lost, PodsLost)
    assert lost.reason == f"no source reports this node's pods; {mode}: no {mode}"


async def test_the_first_that_answers_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its end is reported in its own words, then all begins with the best again, soon."""
    story = Story(monkeypatch, kubelet=Scripted("kubelet", ([ALL], "it hung up")))
    facts, delay = await story.once()
    assert facts == [ALL, PodsLost(NOW, "kubelet: it hung up")]
    assert delay == near(0.1)
    story.sources["socket"].watches.append(([ALL], "it went away"))
    facts, delay = await story.once()
    assert facts == [ALL, PodsLost(NOW, "socket: it went away")]
    assert delay == near(0.2)


async def test_losses_in_a_row_are_followed_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And a source that was well for a minute is worth a quick look again."""
    ends: list[tuple[list[Any], object]] = [([ALL], "again")] * 10
    story = Story(monkeypatch, socket=Scripted("socket", *ends))
    delays = [(await story.once())[1] for _ in range(9)]
    assert delays[-1] == near(AGAIN)
    assert delays[0] == near(0.1)
    story.sources["socket"].lasting = 61
    assert (await story.once())[1] == near(0.1)
    story.sources["socket"].watches.clear()
    assert (await story.once())[1] == near(0.2)


async def test_each_pod_has_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand changes while the loop is busy are as many as there are pods, newest last."""
    one, two = Pod("1", "shop/a"), Pod("2", "shop/b")
    events = [
        PodReported(NOW, "socket", one),
        PodReported(NOW, "socket", two),
        ALL,
        PodReported(NOW, "socket", two),
        PodGone(NOW, "socket", "1"),
    ]
    story = Story(monkeypatch, socket=Scripted("socket", ([*events, *events], "end")))
    facts, _ = await story.once()
    assert facts[:-1] == [ALL, events[3], events[4]]
    assert isinstance(facts[-1], PodsLost)


@pytest.mark.parametrize("error", [TypeError("odd"), RuntimeError("odder"), OSError("oddest")])
async def test_a_fault_of_ours_ends_no_daemon(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The daemon did its work before it knew of pods."""
    story = Story(monkeypatch, socket=Scripted("socket", ([ALL], error)))
    facts, _ = await story.once()
    assert facts[-1] == PodsLost(NOW, f"socket: {type(error).__name__}: {error}")
    story.sources["socket"].answers = False
    story.sources["kubelet"].watches.append(([], error))
    facts, _ = await story.once()
    assert f"kubelet: {type(error).__name__}" in str(facts[-1])


async def test_from_a_lower_rung_a_better_source_is_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """kubelet was only restarted: its socket needs no token and nothing of the API server."""
    story = Story(monkeypatch, api=Scripted("api", ([ALL], None)))
    story.sources["kubelet"].answers = True
    facts, delay = await story.once()
    assert facts == [ALL]  # no loss: the better one takes over at once
    assert delay == 0
    assert story.sources["socket"].asked == 1
    assert story.naps.taken[-1] == near(watch.CLIMB)


async def test_the_best_source_is_never_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other source is asked."""
    story = Story(monkeypatch, socket=Scripted("socket", ([ALL], "end")))
    story.sources["kubelet"].answers = story.sources["api"].answers = True
    await story.once()
    assert story.naps.taken == []
    assert story.sources["kubelet"].asked == story.sources["api"].asked == 0


async def test_the_source_is_named_with_the_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which version of what answers, and where: for the log."""
    story = Story(monkeypatch, socket=Scripted("socket", ([ALL], "end")))
    facts, _ = await story.once()
    assert [fact.where for fact in facts if isinstance(fact, PodsReported)] == ["a test"]


async def test_a_command_asks_once_by_the_same_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    """`plan` must say what the daemon would."""
    story = Story(monkeypatch)
    lost = await look(story.place, lambda: NOW)
    assert isinstance(lost, PodsLost)
    assert "socket: no socket; kubelet: no kubelet; api: no api" in lost.reason
    story.sources["kubelet"].answers = True
    assert await look(story.place, lambda: NOW) == PodsReported(NOW, "kubelet", ALL.pods)


async def test_a_command_that_may_not_ask_says_so() -> None:
    """`--pods off` holds for commands too."""
    place = Place("off", Path("/none"), None, None, None, "")
    assert await look(place, lambda: NOW) == PodsLost(
        NOW, "no source is asked for pods (--pods off)"
    )


# --- the real sources --------------------------------------------------------------------------


async def test_what_can_not_even_be_tried_says_what_it_lacks(tmp_path: Path) -> None:
    """On a plain node the sentence is how an operator learns what the flag needs."""
    place = Place("auto", tmp_path / "none.sock", None, None, None, "", tmp_path)
    lost = await look(place, lambda: NOW)
    assert isinstance(lost, PodsLost)
    for part in ("none.sock", "--kubelet-endpoint", "KUBERNETES_SERVICE_HOST"):
        assert part in lost.reason
    place = Place("auto", tmp_path / "x", ("::1", 1), None, ("127.0.0.1", 1), "", tmp_path)
    lost = await look(place, lambda: NOW)
    assert isinstance(lost, PodsLost)
    assert "kubelet: there is no service account token" in lost.reason
    assert "api: this node's name is not known (--node-name)" in lost.reason


async def test_each_real_source_answers_on_its_rung(tmp_path: Path) -> None:
    """From the socket down, each found when those above it are not there."""
    with web(tmp_path / "account") as there:
        address = ("127.0.0.1", there.port)
        path = tmp_path / "p.sock"

        async def source_used(kubelet: tuple[str, int] | None) -> str:
            place = Place("auto", path, kubelet, None, address, NODE, there.folder)
            found = await look(place, lambda: NOW)
            assert isinstance(found, PodsReported), found
            assert [one.uid for one in found.pods] == ["uid-app"]
            return found.source

        there.body = pod_list("1", pod("app", "a"))
        assert await source_used(None) == "api"
        there.body = json_list(json_pod("app", "a"))
        assert await source_used(address) == "kubelet"
        async with PodsApi(path) as kubelet:
            kubelet.pods = {"a": pod("app", "a")}
            assert await source_used(address) == "socket"


async def test_a_command_waits_for_all_of_them_only_so_long(tmp_path: Path) -> None:
    """Each has its share of the time, so that one that hangs does not cost the others theirs."""
    with web(tmp_path / "account") as there, web(tmp_path / "other") as hanging:
        there.body = pod_list("1", pod("app", "a"))
        hanging.on_ask = hanging.script.get
        (there.folder / "both.crt").write_text(
            (there.folder / "ca.crt").read_text() + (hanging.folder / "ca.crt").read_text()
        )
        place = Place(
            "auto",
            tmp_path / "none",
            ("127.0.0.1", hanging.port),
            there.folder / "both.crt",
            ("127.0.0.1", there.port),
            NODE,
            there.folder,
        )
        began = asyncio.get_running_loop().time()
        found = await look(place, lambda: NOW, timeout=2.0)
        assert isinstance(found, PodsReported)
        assert found.source == "api"
        assert asyncio.get_running_loop().time() - began < 2.0


async def test_the_whole_watch_follows_a_kubelet_that_restarts(tmp_path: Path) -> None:
    """Lost, and watched again, as often as needed."""
    mailbox: Mailbox[facts.Fact] = Mailbox()
    path = tmp_path / "p.sock"
    place = Place("auto", path, None, None, None, "", tmp_path)
    running = asyncio.ensure_future(
        PodWatch(place, mailbox, lambda: NOW, lambda: False, Naps()).run()
    )

    async def until(kind: type[object]) -> Any:
        async with asyncio.timeout(HANGS):
            while True:
                for fact in await mailbox.take(1):
                    if isinstance(fact, kind):
                        return fact

    try:
        for number in range(2):
            async with PodsApi(path) as kubelet:
                kubelet.pods = {"a": pod(f"app{number}", "a")}
                listed = await until(PodsReported)
                assert [one.uid for one in listed.pods] == [f"uid-app{number}"]
            lost = await until(PodsLost)
            assert lost.reason
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_whole_watch_climbs_back_to_a_kubelet_that_is_there_again(tmp_path: Path) -> None:
    """And leaves the API server's watch without a word of a loss."""
    mailbox: Mailbox[facts.Fact] = Mailbox()
    path, climbing = tmp_path / "p.sock", asyncio.Event()

    async def sleep(seconds: float) -> None:
        if seconds >= 0.8 * watch.CLIMB:
            await climbing.wait()
        await asyncio.sleep(0)

    with web(tmp_path / "account") as there:
        there.body = pod_list("1", pod("app", "a"))
        place = Place("auto", path, None, None, ("127.0.0.1", there.port), NODE, there.folder)
        watching = PodWatch(place, mailbox, lambda: NOW, lambda: False, sleep)
        running = asyncio.ensure_future(watching.run())
        try:
            (first,) = await mailbox.take(20)
            assert isinstance(first, PodsReported)
            assert first.source == "api"
            async with PodsApi(path) as kubelet:
                kubelet.pods = {"a": pod("app", "a")}
                climbing.set()
                (second,) = await mailbox.take(20)
                assert isinstance(second, PodsReported)
                assert second.source == "socket"
                assert kubelet.calls == ["ListPods", "WatchPods"]
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
        finally:
            running.cancel()


def test_places_come_from_flags_and_a_pods_environment(tmp_path: Path) -> None:
    """The patches in config/ set just these."""
    environ = {"NODE_NAME": NODE, "NODE_IP": "10.0.0.7"}
    settings = resolve({}, environ, tmp_path / "none", ())
    cluster = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    place = Place.of(settings, cluster)
    assert (place.mode, place.node) == ("auto", NODE)
    assert (place.kubelet, place.api) == (("10.0.0.7", 10250), ("10.96.0.1", 443))
    assert str(place.socket) == "/var/lib/kubelet/pods-api/pods-api.sock"
    assert Place.of(settings, {}).api is None
    environ = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "tcp://10.96.0.1"}
    assert Place.of(settings, environ).api is None
    assert Place.of(Settings(None, "")).mode == "off"


@pytest.mark.parametrize("mode", ["off", "socket", "auto"])
def test_no_http_client_is_loaded_where_none_is_used(tmp_path: Path, mode: str) -> None:
    """It would sit in every node's memory, and most nodes have no token to use it with."""
    code = f"""
import asyncio, sys
from pathlib import Path
import reconciler.app
from reconciler.aiokit import Mailbox
from reconciler.pods.watch import Place, PodWatch
async def once():
    place = Place({mode!r}, Path({str(tmp_path)!r}) / "none", None, None, None, "")
    if {mode!r} != "off":
        await PodWatch(place, Mailbox(), lambda: 0.0, lambda: False).once()
asyncio.run(once())
print(*sys.modules)
"""
    loaded = set(output_of([sys.executable, "-c", code]).split())
    assert "reconciler.pods.watch" in loaded
    assert not {"httpcore", "httpx"} & loaded
    assert ("reconciler.pods.socket" in loaded) is (mode != "off")
