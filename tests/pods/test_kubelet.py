"""kubelet's /pods: asked as often as the node needs it, over TLS that is verified or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.domain.facts import PodsReported
from reconciler.pods import kubelet
from reconciler.pods.kubelet import CALM_TICKS, KubeletSource
from reconciler.pods.source import PodsUnavailable
from tests.api_server import TOKEN

from .standins import Listening, Naps, Web, images, json_list, json_pod, web

NOW = 1_800_000_000.0


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Web]:
    with web(tmp_path / "account") as made:
        made.body = json_list(json_pod("app", "reg.example/app:1"))
        yield made


def source(
    there: Web, naps: Naps | None = None, ca: Path | None = None, *, under_pressure: bool = False
) -> KubeletSource:
    folder = there.folder
    server = kubelet.server("127.0.0.1", there.port, folder / "token", ca or folder / "ca.crt")
    return KubeletSource(server, lambda: NOW, lambda: under_pressure, naps or Naps())


async def test_all_pods_are_reported_each_time(there: Web) -> None:
    """An unchanged answer proves that kubelet still answers."""
    async with Listening(source(there)) as listening:
        first, second = await listening.fact(), await listening.fact()
        assert first == second
        assert isinstance(first, PodsReported)
        assert (first.at, first.source) == (NOW, "kubelet")
        assert images(first) == {"uid-app": {"reg.example/app:1"}}
        there.body = json_list()
        while images(await listening.fact()):
            pass
    assert set(there.asked) == {"/pods"}
    assert there.tokens[0] == f"Bearer {TOKEN}"


async def test_a_calm_node_is_asked_about_every_ten_seconds(there: Web) -> None:
    """kubelet has other work; but the pressure is looked at every second."""
    naps = Naps(limit=2 * CALM_TICKS)
    async with Listening(source(there, naps)) as listening:
        for _ in range(3):
            await listening.fact()
    assert naps.taken[: 2 * CALM_TICKS] == [1.0] * 20
    assert len(there.asked) == 3


async def test_under_pressure_it_is_asked_every_second(there: Web) -> None:
    """What is about to be removed may be what a pod was bound for 2 s ago."""
    naps = Naps(limit=4)
    async with Listening(source(there, naps, under_pressure=True)) as listening:
        for _ in range(5):
            await listening.fact()
    assert naps.taken[:4] == [1.0] * 4


async def test_a_token_that_rotates_is_read_for_every_call(there: Web) -> None:
    """kubelet replaces the file each hour; the old one is refused some time later."""
    async with Listening(source(there)) as listening:
        await listening.fact()
        there.token = "second.token"
        (there.folder / "token").write_text("second.token\n")
        for _ in range(4):
            await listening.fact()
    assert there.tokens[-1] == "Bearer second.token"


async def test_a_token_that_was_just_replaced_is_tried_again(there: Web) -> None:
    """A 401 between the reading of the file and the call is no loss of the source."""

    def rotate() -> None:
        (there.folder / "token").write_text("second.token")
        there.token = "second.token"

    there.on_ask = rotate
    assert [one.uid for one in await source(there).ask(5)] == ["uid-app"]
    assert there.tokens == [f"Bearer {TOKEN}", "Bearer second.token"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "authentication.webhook"),
        (403, r"refuses to list pods \(403\): bind config/pods-kubelet.yaml"),
        (404, "debugging handlers"),
        (500, "kubelet answers 500 to /pods"),
    ],
)
async def test_a_refusal_says_what_to_do(there: Web, status: int, reason: str) -> None:
    """A number alone sends people to search."""
    there.statuses = [status] * 4
    with pytest.raises(PodsUnavailable, match=reason):
        await source(there).ask(5)
    with pytest.raises(PodsUnavailable, match=reason):
        await source(there).watch(lambda fact: None)


async def test_a_kubelet_with_a_certificate_of_its_own_gets_no_token(
    there: Web, tmp_path: Path
) -> None:
    """Without serverTLSBootstrap it signs for itself; anybody could be that server."""
    with web(tmp_path / "other") as other:
        wrong = source(there, ca=other.folder / "ca.crt")
        with pytest.raises(PodsUnavailable, match=r"serverTLSBootstrap.*--kubelet-ca.*--pods"):
            await wrong.ask(5)
        assert there.asked == []
        right = source(there, ca=there.folder / "ca.crt")
        assert await right.ask(5)


async def test_a_certificate_for_another_address_gets_no_token(there: Web) -> None:
    """The CA signs for every node: this one must be the one it says."""
    folder = there.folder
    server = kubelet.server("localhost", there.port, folder / "token", folder / "ca.crt")
    with pytest.raises(PodsUnavailable, match="serverTLSBootstrap"):
        await KubeletSource(server, lambda: NOW, lambda: False).ask(5)
    assert there.asked == []


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
async def test_a_file_that_is_gone_is_named(there: Web, missing: str) -> None:
    """The error names the file, not an errno."""
    (there.folder / missing).unlink()
    with pytest.raises(PodsUnavailable, match=f"{missing}: No such file"):
        await source(there).ask(5)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("odd", ["token", "ca.crt"])
async def test_a_fifo_for_a_file_is_named_and_does_not_stop_the_daemon(
    there: Web, odd: str
) -> None:
    """It was opened in the event loop, which then waited for a writer and did nothing else."""
    (there.folder / odd).unlink()
    os.mkfifo(there.folder / odd)
    with pytest.raises(PodsUnavailable, match=f"{odd}: expected a regular file, found a FIFO"):
        await source(there).ask(5)


@pytest.mark.parametrize("text", ["", "rubbish", "-----BEGIN CERTIFICATE-----\nAA==\n"])
async def test_a_ca_that_is_none_trusts_nobody(there: Web, text: str) -> None:
    """An empty file must not mean the CAs that this machine has for the web."""
    (there.folder / "ca.crt").write_text(text)
    with pytest.raises(PodsUnavailable, match="is no certificate"):
        await source(there).ask(5)
    assert there.asked == []


async def test_a_kubelet_that_is_not_there_is_reported_with_its_address(there: Web) -> None:
    """A wrong --kubelet-endpoint is seen."""
    folder = there.folder
    server = kubelet.server("127.0.0.1", 1, folder / "token", folder / "ca.crt")
    with pytest.raises(PodsUnavailable, match=r"kubelet at 127\.0\.0\.1:1: "):
        await KubeletSource(server, lambda: NOW, lambda: False).ask(5)


@pytest.mark.parametrize("host", ["ä..ö", "a..b"])
async def test_a_host_that_there_can_not_be_does_not_end_the_daemon(there: Web, host: str) -> None:
    """A --kubelet-endpoint that does not encode is one more kubelet that is not there."""
    server = kubelet.server(host, 1, there.folder / "token", there.folder / "ca.crt")
    with pytest.raises(PodsUnavailable, match=rf"kubelet at {host}:1: "):
        await KubeletSource(server, lambda: NOW, lambda: False).ask(5)


async def test_a_kubelet_that_hangs_is_waited_for_only_so_long(there: Web) -> None:
    """A one-shot command has seconds."""
    there.on_ask = there.script.get
    with pytest.raises(PodsUnavailable, match=r"returned no list in 0\.2 s"):
        await source(there).ask(0.2)
    there.script.put("end")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"kind":"Status"}', b"\xff"])
async def test_an_answer_that_is_no_list_is_not_taken_for_no_pods(there: Web, body: bytes) -> None:
    """A proxy's greeting would free all images."""
    there.body = body
    with pytest.raises(PodsUnavailable):
        await source(there).ask(5)


async def test_a_large_answer_is_read_in_a_thread(
    there: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of the runtime must be read while it parses; the result is the same."""
    monkeypatch.setattr(kubelet, "LARGE", 10)
    assert [one.uid for one in await source(there).ask(5)] == ["uid-app"]
