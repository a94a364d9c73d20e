"""kubelet's running configuration: from its own answer, else from its files, never made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.aiokit import Mailbox
from reconciler.domain.facts import Fact, KubeletReported
from reconciler.pods.configz import KubeletWatch, look
from reconciler.settings import Settings
from tests.api_server import TOKEN

from .standins import Naps, Web, web

NOW = 1_800_000_000.0
ANSWER = {
    "kubeletconfig": {
        "imageGCHighThresholdPercent": 70,
        "imageMaximumGCAge": "0s",
        "evictionHard": {"imagefs.available": "20%", "memory.available": "100Mi"},
    }
}


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Web]:
    with web(tmp_path / "account") as made:
        made.body = json.dumps(ANSWER).encode()
        yield made


def settings(there: Web, tmp_path: Path) -> Settings:
    """A pod's, with a file of kubelet's that says something else."""
    file = tmp_path / "config.yaml"
    file.write_text("imageGCHighThresholdPercent: 60\n")
    return Settings(
        None,
        "a test",
        kubelet_config=file,
        kubelet_endpoint=("127.0.0.1", there.port),
    )


async def found(there: Web, tmp_path: Path) -> KubeletReported:
    return await look(settings(there, tmp_path), lambda: NOW, there.folder)


async def test_kubelets_own_answer_takes_precedence_over_its_file(
    there: Web, tmp_path: Path
) -> None:
    """Flags override the file, and only kubelet itself knows of them."""
    fact = await found(there, tmp_path)
    assert fact.config.source == "kubelet's /configz"
    assert fact.config.image_gc_high == 70
    assert [str(one) for one in fact.config.thresholds] == ["evictionHard imagefs.available<20%"]
    assert fact.troubles == ()
    assert there.asked == ["/configz"]
    assert there.tokens == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (403, b"", "bind config/pods-kubelet.yaml"),
        (404, b"", "debugging handlers"),
        (500, b"", "kubelet answers 500 to /configz"),
        (200, b"{", "is not what it should be"),
        (200, b"[]", "is not what it should be"),
        pytest.param(200, b"[" * 100_000, "is not what it should be", id="nested lists"),
        (200, b'{"kubeletconfig": []}', "has no configuration in it"),
    ],
)
async def test_where_kubelet_does_not_answer_its_file_counts_and_that_is_said(
    there: Web, tmp_path: Path, status: int, body: bytes, why: str
) -> None:
    """A number alone sends people to search."""
    there.statuses, there.body = [status] * 2, body
    fact = await found(there, tmp_path)
    assert fact.config.image_gc_high == 60
    assert fact.config.source == str(tmp_path / "config.yaml")
    assert any(why in one for one in fact.troubles)


async def test_without_a_token_kubelet_is_not_asked(there: Web, tmp_path: Path) -> None:
    """Most daemons have none, and that is no trouble."""
    (there.folder / "token").unlink()
    fact = await found(there, tmp_path)
    assert (fact.config.image_gc_high, fact.troubles) == (60, ())
    assert there.asked == []


async def test_an_edit_of_kubelets_file_is_seen_and_said_once(tmp_path: Path) -> None:
    """kubelet is restarted with other lines while the daemon runs on."""
    file = tmp_path / "config.yaml"
    file.write_text("imageGCHighThresholdPercent: 60\n")
    mailbox: Mailbox[Fact] = Mailbox()
    watch = KubeletWatch(
        Settings(None, "a test", kubelet_config=file), mailbox, lambda: NOW, Naps()
    )
    reported = []
    for text in ("60", "60", "65", "65", "60"):
        file.write_text(f"imageGCHighThresholdPercent: {text}\n")
        await watch.once()
        facts = [one for one in mailbox.drain() if isinstance(one, KubeletReported)]
        reported.append([one.config.image_gc_high for one in facts])
    assert reported == [[60], [], [65], [], [60]]
