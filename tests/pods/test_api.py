"""The API server: a list, then watches that continue from one another, at a price clusters can
pay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.domain.facts import PodGone, PodReported, PodsReported
from reconciler.pods import api
from reconciler.pods._pb import pods_pb2 as pb
from reconciler.pods.api import FIRST_SPREAD, RESUME_SPREAD, SPREAD, ApiSource, whole_frames
from reconciler.pods.source import PodsUnavailable
from reconciler.pods.translate import Unreadable

from .standins import NODE, Listening, Naps, Web, frame, images, nameplate, pod, pod_list, web

NOW = 1_800_000_000.0
APP = pod("app", "reg.example/app:1")


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Web]:
    with web(tmp_path / "account") as made:
        made.body = pod_list("100", APP)
        yield made


def source(there: Web, naps: Naps | None = None) -> ApiSource:
    server = api.server("127.0.0.1", there.port, there.folder / "token", there.folder / "ca.crt")
    return ApiSource(server, NODE, lambda: NOW, naps or Naps())


async def test_one_list_from_the_cache_then_a_watch(there: Web) -> None:
    """What every node asks for must not reach etcd, and list this node's pods alone."""
    async with Listening(source(there)) as listening:
        first = await listening.fact()
        assert isinstance(first, PodsReported)
        assert (first.at, first.source) == (NOW, "api")
        assert images(first) == {"uid-app": {"reg.example/app:1"}}
        there.script.put(frame("ADDED", pod("new", "reg.example/new:1"), "101"))
        changed = await listening.fact()
        assert isinstance(changed, PodReported)
        assert images(changed) == {"uid-new": {"reg.example/new:1"}}
    protobuf = "application/vnd.kubernetes.protobuf"
    assert there.accepted == [protobuf, f"{protobuf};stream=watch"]
    listed, watched = there.queries
    assert listed == {"fieldSelector": f"spec.nodeName={NODE}", "resourceVersion": "0"}
    assert watched["fieldSelector"] == f"spec.nodeName={NODE}"
    assert watched["resourceVersion"] == "100"
    assert (watched["watch"], watched["allowWatchBookmarks"]) == ("true", "true")
    assert 300 <= int(watched["timeoutSeconds"]) <= 600


async def test_changes_and_ends_are_reported(there: Web) -> None:
    """With the envelope of Kubernetes or without, in any pieces they arrive in."""
    async with Listening(source(there)) as listening:
        await listening.fact()
        changed = frame("MODIFIED", pod("app", "reg.example/app:2"), bare=True)
        there.script.put(changed[:3])
        there.script.put(changed[3:40])
        there.script.put(changed[40:] + frame("DELETED", nameplate(APP)))
        assert images(await listening.fact()) == {"uid-app": {"reg.example/app:2"}}
        assert await listening.fact() == PodGone(NOW, "api", "uid-app")


async def test_a_watch_that_ends_goes_on_from_where_it_was(there: Web) -> None:
    """A list for each end of a watch is what melts API servers; a bookmark says how far we are."""
    async with Listening(source(there)) as listening:
        await listening.fact()
        there.script.put(frame("BOOKMARK", pb.Pod(), "250"))
        there.script.put("end")
        there.script.put(frame("ADDED", pod("new", "reg.example/new:1"), "251"))
        assert isinstance(await listening.fact(), PodReported)
    assert [query["resourceVersion"] for query in there.queries] == ["0", "100", "250"]


async def test_a_watch_that_breaks_is_taken_up_again_without_a_list(there: Web) -> None:
    """An API server that crashed had thousands of watches: none lists, and not all at once."""
    naps = Naps()
    async with Listening(source(there, naps)) as listening:
        await listening.fact()
        there.script.put(frame("BOOKMARK", pb.Pod(), "250"))
        there.script.put("break")
        there.script.put(frame("ADDED", pod("new", "reg.example/new:1"), "251"))
        assert isinstance(await listening.fact(), PodReported)
    assert [query["resourceVersion"] for query in there.queries] == ["0", "100", "250"]
    assert 0 <= naps.taken[-1] <= RESUME_SPREAD


async def test_a_server_that_does_not_come_back_is_a_loss(there: Web) -> None:
    """No source reports any more, and that must be known."""
    there.statuses = [200, 200, 503]
    async with Listening(source(there)) as listening:
        await listening.fact()
        there.script.put("break")
        assert "answers 503" in await listening.reason()


async def test_a_silent_connection_is_given_up(there: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead one looks like an idle one, but for the bookmarks: 90 s without any is too long."""
    monkeypatch.setattr(api, "QUIET", 0.2)
    async with Listening(source(there)) as listening:
        await listening.fact()
        there.script.put(frame("BOOKMARK", pb.Pod(), "250"))
        while len(there.asked) < 3:  # a list, a watch, and the watch after the silence
            await Naps()(0)
    assert there.queries[2]["resourceVersion"] == "250"


@pytest.mark.parametrize("how", ["status", "event"])
async def test_an_expired_version_is_followed_by_a_new_list(there: Web, how: str) -> None:
    """410 Gone: what happened since is in a list alone, at a time of our own."""
    there.body = pod_list("100")
    naps = Naps()
    if how == "status":
        there.statuses = [200, 410]
    else:
        there.script.put(frame("ERROR", pb.Status(code=410, message="too old")))
    async with Listening(source(there, naps)) as listening:
        assert images(await listening.fact()) == {}
        there.body = pod_list("300", APP)
        second = await listening.fact()
        assert isinstance(second, PodsReported)
        assert images(second).keys() == {"uid-app"} or images(await listening.fact())
    assert there.queries[2] == {"fieldSelector": f"spec.nodeName={NODE}", "resourceVersion": "0"}


async def test_a_list_is_never_older_than_what_was_seen(there: Web) -> None:
    """Another API server may be behind: a pod that was reported would seem gone."""
    one = source(there)
    await one.ask(5)
    await one.ask(5)
    assert [query["resourceVersion"] for query in there.queries] == ["0", "100"]
    there.statuses = [504]
    with pytest.raises(PodsUnavailable):
        await one.ask(5)
    await one.ask(5)
    assert there.queries[-1]["resourceVersion"] == "0"


async def test_ten_thousand_nodes_do_not_ask_at_once(there: Web) -> None:
    """Before every list there is a pause of a random length; a command's one question has none."""
    firsts, seconds = [], []
    for _ in range(5):
        naps = Naps()
        one = source(there, naps)
        there.statuses = [403]
        with pytest.raises(PodsUnavailable):
            await one.watch(lambda fact: None)
        there.statuses = [403]
        with pytest.raises(PodsUnavailable):
            await one.watch(lambda fact: None)
        firsts.append(naps.taken[0])
        seconds.append(naps.taken[1])
    assert all(0 <= nap <= FIRST_SPREAD for nap in firsts)
    assert all(0 <= nap <= SPREAD for nap in seconds)
    assert len(set(firsts + seconds)) == 10
    naps = Naps()
    await source(there, naps).ask(5)
    assert naps.taken == []


async def test_watches_that_end_at_once_are_opened_ever_more_rarely(there: Web) -> None:
    """Some proxies allow none: that must not become one call after the other."""
    for _ in range(8):
        there.script.put("end")
    naps = Naps()
    async with Listening(source(there, naps)) as listening:
        await listening.fact()
        while len(there.asked) < 9:
            await Naps()(0)
    assert sum(naps.taken[1:8]) > 0.8 * (0.1 + 0.2 + 0.5 + 1 + 2 + 5 + 10)


async def test_a_token_that_rotates_is_read_for_every_watch(there: Web) -> None:
    """An old one that is refused is no loss, if the file has a new one."""
    async with Listening(source(there)) as listening:
        await listening.fact()
        there.token = "second.token"
        (there.folder / "token").write_text("second.token")
        there.script.put("end")
        there.script.put(frame("ADDED", APP))
        assert isinstance(await listening.fact(), PodReported)
    assert there.tokens[-1] == "Bearer second.token"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "does not know our token"),
        (403, r"refuses to list pods \(403\): bind config/pods-api.yaml"),
        (429, "too busy"),
        (500, "answers 500"),
    ],
)
async def test_a_refusal_says_what_to_do(there: Web, status: int, reason: str) -> None:
    """Whether of a list or of a watch."""
    there.statuses = [status] * 2
    with pytest.raises(PodsUnavailable, match=reason):
        await source(there).ask(5)
    there.statuses = [200, status, status]
    async with Listening(source(there)) as listening:
        await listening.fact()
        there.script.put("end")
        with pytest.raises(PodsUnavailable, match=reason):
            await listening.fact()


async def test_an_error_within_the_watch_is_reported(there: Web) -> None:
    """In the server's own words."""
    async with Listening(source(there)) as listening:
        await listening.fact()
        there.script.put(frame("ERROR", pb.Status(code=500, message="etcd is on fire")))
        assert "etcd is on fire" in await listening.reason()


@pytest.mark.parametrize("body", [b"", b'{"kind":"PodList"}', b"k8s\x00\xff\xff", b"<html>"])
async def test_an_answer_that_is_no_list_is_not_taken_for_no_pods(there: Web, body: bytes) -> None:
    """A proxy's greeting would free all images."""
    there.body = body
    with pytest.raises(PodsUnavailable, match="the API server at"):
        await source(there).ask(5)


async def test_nonsense_in_a_watch_ends_it(there: Web) -> None:
    """After a frame of 4 GiB nothing that follows can be believed."""
    async with Listening(source(there)) as listening:
        await listening.fact()
        there.script.put(b"\xff\xff\xff\xffrubbish")
        assert "a frame of 4294967295 bytes" in await listening.reason()
    with pytest.raises(Unreadable):
        list(whole_frames(bytearray(b"\x01\x00\x00\x01")))


async def test_another_clusters_certificate_gets_no_token(there: Web, tmp_path: Path) -> None:
    """A server that cannot prove to be the API server gets no token."""
    with web(tmp_path / "other") as other:
        (there.folder / "ca.crt").write_bytes((other.folder / "ca.crt").read_bytes())
    with pytest.raises(PodsUnavailable, match="it gets no token"):
        await source(there).ask(5)
    assert there.asked == []
