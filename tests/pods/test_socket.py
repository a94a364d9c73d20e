"""kubelet's Pods API: what is reported of the pods, in any order, and how an end is reported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.facts import PodGone, PodReported, PodsReported
from reconciler.pods import socket
from reconciler.pods._pb import pods_pb2 as pb
from reconciler.pods.socket import NOT_SYNCED_TRIES, SocketSource
from reconciler.pods.source import PodsUnavailable

from .standins import BUFFER, Listening, Naps, PodsApi, images, pod

NOW = 1_800_000_000.0
APP = pod("app", "reg.example/app:1")
STATIC = pod("kube-proxy", "reg.example/proxy:1", uid="")


@pytest.fixture
async def kubelet(tmp_path: Path) -> AsyncIterator[PodsApi]:
    async with PodsApi(tmp_path / "p.sock") as served:
        yield served


def source(kubelet: PodsApi, naps: Naps | None = None) -> SocketSource:
    return SocketSource(kubelet.path, lambda: NOW, naps or Naps())


async def test_nothing_is_reported_before_the_first_list_is_complete(kubelet: PodsApi) -> None:
    """A part of the pods as all of them would make the others' images look unneeded."""
    kubelet.pods = {"a": APP, "s": STATIC}
    async with Listening(source(kubelet)) as listening:
        first = await listening.fact()
        assert isinstance(first, PodsReported)
        assert (first.at, first.source) == (NOW, "socket")
        assert images(first) == {
            "uid-app": {"reg.example/app:1"},
            "shop/kube-proxy": {"reg.example/proxy:1"},
        }


async def test_a_node_without_pods_is_reported_as_such(kubelet: PodsApi) -> None:
    """None at all is knowledge too, unlike silence."""
    async with Listening(source(kubelet)) as listening:
        assert await listening.fact() == PodsReported(NOW, "socket", ())


async def test_a_change_is_reported_when_it_comes(kubelet: PodsApi) -> None:
    """A pod that was bound just now needs its images before it has so much as a sandbox."""
    async with Listening(source(kubelet)) as listening:
        await listening.fact()
        kubelet.send("added", APP)
        kubelet.send("modified", pod("app", "reg.example/app:2"))
        kubelet.send("deleted", APP)
        added, changed = await listening.fact(), await listening.fact()
        assert isinstance(added, PodReported)
        assert images(added) == {"uid-app": {"reg.example/app:1"}}
        assert images(changed) == {"uid-app": {"reg.example/app:2"}}
        assert await listening.fact() == PodGone(NOW, "socket", "uid-app")


async def test_an_older_addition_does_not_bring_back_what_was_deleted(kubelet: PodsApi) -> None:
    """The watcher is registered before the list is taken: the deletion may come first."""
    kubelet.pods = {"a": APP}
    kubelet.first = [("deleted", APP)]
    async with Listening(source(kubelet)) as listening:
        assert images(await listening.fact()) == {}


async def test_a_pod_reported_twice_needs_what_either_says(kubelet: PodsApi) -> None:
    """Nobody knows which is newer, so neither's images may go."""
    kubelet.pods = {"a": APP}
    kubelet.first = [("modified", pod("app", "reg.example/app:2", phase="Failed"))]
    kubelet.late = [("added", APP)]
    async with Listening(source(kubelet)) as listening:
        first = await listening.fact()
        assert isinstance(first, PodsReported)
        (app,) = first.pods
        assert [need.image for need in app.needs] == ["reg.example/app:2", "reg.example/app:1"]
        assert app.finished


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
async def test_each_version_of_the_service_is_found(tmp_path: Path, version: str) -> None:
    """The next kubelet has it under another name, and says nothing of the old one."""
    async with PodsApi(tmp_path / "p.sock", version) as kubelet:
        kubelet.pods = {"a": APP}
        pods = source(kubelet)
        async with Listening(pods) as listening:
            assert images(await listening.fact()).keys() == {"uid-app"}
        assert pods.where == f"kubelet's Pods API {version} at {kubelet.path}"
        assert [one.uid for one in await pods.ask(2)] == ["uid-app"]


async def test_a_service_of_another_version_is_reported_with_what_was_tried(tmp_path: Path) -> None:
    """The text shows that our version is the one that is too old."""
    async with PodsApi(tmp_path / "p.sock", "v9") as kubelet:
        async with Listening(source(kubelet)) as listening:
            reason = await listening.reason()
        assert reason.endswith("answers, but knows none of v1.Pods, v1beta1.Pods, v1alpha1.Pods")
        with pytest.raises(PodsUnavailable, match="knows none of"):
            await source(kubelet).ask(2)


async def test_a_kubelet_that_has_just_started_is_asked_again_soon(kubelet: PodsApi) -> None:
    """It does not know its pods yet; taken for "no pods" it would free all their images."""
    kubelet.unsynced, kubelet.pods = 3, {"a": APP}
    naps = Naps()
    async with Listening(source(kubelet, naps)) as listening:
        assert images(await listening.fact()).keys() == {"uid-app"}
    assert len(naps.taken) == 3
    assert all(0.8 <= nap <= 1.2 for nap in naps.taken)


async def test_a_kubelet_that_stays_so_makes_room_for_others(kubelet: PodsApi) -> None:
    """Without the API server it never syncs: a loss after half a minute, and others are asked."""
    kubelet.unsynced = 1000
    async with Listening(source(kubelet)) as listening:
        assert "does not know its pods yet" in await listening.reason()
    assert len(kubelet.calls) == NOT_SYNCED_TRIES
    with pytest.raises(PodsUnavailable, match="does not know its pods yet"):
        await source(kubelet).ask(2)


async def test_a_dropped_watch_ends_and_the_next_one_lists_again(kubelet: PodsApi) -> None:
    """kubelet replays nothing: what went by in between is in the next list alone."""
    async with Listening(source(kubelet)) as listening:
        await listening.fact()
        kubelet.send("added", APP)
        await listening.fact()
        for number in range(BUFFER + 2):
            kubelet.send("added", pod(f"p{number}", "reg.example/p:1"))
        assert "RESOURCE_EXHAUSTED" in await listening.reason()
    async with Listening(source(kubelet)) as listening:
        first = await listening.fact()
        assert isinstance(first, PodsReported)
        assert len(first.pods) == BUFFER + 3


async def test_a_kubelet_that_goes_away_is_noticed_at_once(tmp_path: Path) -> None:
    """A silent source would be believed for ever."""
    async with PodsApi(tmp_path / "p.sock") as kubelet:
        listening = Listening(source(kubelet))
        await listening.fact()
    assert await listening.reason()


async def test_a_sync_that_does_not_end_is_given_up(
    kubelet: PodsApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubelet that hangs must not keep us from asking somebody else."""
    monkeypatch.setattr(socket, "SYNC_LIMIT", 0.05)
    kubelet.hangs = True
    async with Listening(source(kubelet)) as listening:
        assert "did not report all its pods" in await listening.reason()


async def test_nonsense_is_passed_over(kubelet: PodsApi) -> None:
    """One malformed event must not hide all others."""
    async with Listening(source(kubelet)) as listening:
        await listening.fact()
        kubelet.send_raw(pb.WatchPodsEvent(type=pb.ADDED, pod=b"\xff\xff\xff"))
        kubelet.send_raw(pb.WatchPodsEvent(type=pb.ADDED))
        unheard_of: Any = 77
        kubelet.send_raw(pb.WatchPodsEvent(type=unheard_of, pod=APP.SerializeToString()))
        kubelet.send_raw(pb.WatchPodsEvent(type=pb.INITIAL_SYNC_COMPLETE))
        kubelet.send("added", APP)
        assert images(await listening.fact()).keys() == {"uid-app"}


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        ("nothing", "there is no .*feature gate"),
        ("file", "is not a socket"),
        ("dead", "not answer"),
    ],
)
async def test_a_socket_that_does_not_answer_is_an_error_with_words(
    tmp_path: Path, there: str, reason: str
) -> None:
    """The reason says what to do."""
    path = tmp_path / "p.sock"
    if there == "file":
        path.touch()
    if there == "dead":
        import socket as sockets

        with sockets.socket(sockets.AF_UNIX) as left_behind:
            left_behind.bind(str(path))
    for asked in ("ask", "watch"):
        one = SocketSource(path, lambda: NOW, Naps())
        with pytest.raises(PodsUnavailable, match=reason):
            await (one.ask(2) if asked == "ask" else one.watch(lambda fact: None))
