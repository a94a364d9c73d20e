"""A node's own past: written without loss, without names if asked, refused if it makes no sense."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import astuple
from pathlib import Path

import pytest

from reconciler.domain.ledger import ImageRecord
from reconciler.replay.daemon import Marks
from reconciler.replay.orders import ORDERS
from reconciler.replay.plot import svg
from reconciler.replay.recorded import Node, RecordInvalid, document, read
from reconciler.replay.replay import Replay
from reconciler.store.ledger_log import Log

T0 = 1_700_000_000.0
HOUR = 3600.0
SECRET = "registry.corp.example/secret-project"


def log() -> Log:
    """Three versions of an app and a tool, started every hour in turn, for ten days."""
    keys = [f"{number:02x}" * 32 for number in range(4)]
    names = [*(f"{SECRET}/app:v1.0.{number}" for number in range(3)), f"{SECRET}/tool:stable"]
    images = {
        key: ImageRecord(T0, names=(name,), size=(number + 1) * 10**8)
        for number, (key, name) in enumerate(zip(keys, names, strict=True))
    }
    starts = tuple(
        (T0 + number * HOUR, T0 + number * HOUR + 300, keys[number * 7 % 4])
        for number in range(240)
    )
    pulls = tuple((T0 + number * HOUR, key) for number, key in enumerate(keys))
    return Log(starts, pulls, images, frozenset(keys))


NODE = Node(crio=False, capacity=2 * 10**9, used=10**9)
NOW = T0 + 241 * HOUR


def replayed(path: Path) -> list[tuple[object, ...]]:
    trace, node = read(path)
    assert node.capacity is not None
    return [
        astuple(Replay(trace, node.capacity, make(trace), Marks(0.8, 0.5)).run())
        for make in ORDERS.values()
    ]


def test_an_anonymized_record_has_no_name_and_replays_alike(tmp_path: Path) -> None:
    """What leaves the node says which images are versions of one thing, and nothing else."""
    plain, masked = tmp_path / "plain", tmp_path / "masked"
    plain.write_text(json.dumps(document(log(), NODE, NOW, anonymize=False)))
    masked.write_text(json.dumps(document(log(), NODE, NOW, anonymize=True)))
    text = masked.read_text()
    for secret in ("corp", "secret", "app", "tool", "stable", str(int(T0))[:6], "01" * 32):
        assert secret not in text.replace('"apiVersion"', "")
    assert "secret-project" in plain.read_text()
    assert replayed(masked) == replayed(plain)
    assert any(outcome[1] for outcome in replayed(plain))  # something had to be pulled again


def test_a_container_that_still_runs_runs_to_the_end_of_the_record(tmp_path: Path) -> None:
    """Nothing of it was seen to end."""
    key = "00" * 32
    running = Log(((T0, None, key),), (), {key: ImageRecord(T0, size=10**8)}, frozenset((key,)))
    path = tmp_path / "record"
    path.write_text(json.dumps(document(running, Node(), T0 + 50, anonymize=False)))
    trace, _ = read(path)
    assert [(one.at, one.lasted) for one in trace.starts] == [(0.0, 50.0)]


def test_a_record_of_an_earlier_version_is_replayed_as_one_of_today(tmp_path: Path) -> None:
    """Files were collected when layers were still recorded: they are read, without the layers."""
    record = document(log(), NODE, NOW, anonymize=True)
    before, today = tmp_path / "before", tmp_path / "today"
    today.write_text(json.dumps(record))
    for number, image in enumerate(record["images"]):
        image["layers"] = ["base", f"own-{number}"]
    before.write_text(json.dumps(record))
    assert replayed(before) == replayed(today)


def test_what_others_hold_of_the_disk_is_in_the_replay(tmp_path: Path) -> None:
    """A record says how much is no image's; without it a nearly full node would look empty."""
    path = tmp_path / "record"
    path.write_text(
        json.dumps(document(log(), Node(False, 10**10, 9 * 10**9), NOW, anonymize=False))
    )
    trace, node = read(path)
    assert trace.other > 5 * 10**9
    assert node.capacity is not None
    assert Replay(trace, node.capacity, ORDERS["keepscore"](trace)).run().removals > 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"apiVersion": "reconciler/v1", "kind": "Record"}',
        "\x00",
        "[[[[",
        "[" * 100_000,
    ],
    ids=lambda text: text[:9],
)
def test_what_is_no_record_is_refused_in_words(tmp_path: Path, text: str) -> None:
    """A wrong file is the operator's mistake: no traceback."""
    path = tmp_path / "record"
    path.write_text(text)
    with pytest.raises(RecordInvalid, match="record"):
        read(path)


def test_a_start_of_an_image_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A cut or edited file must not be replayed as something else."""
    record = document(log(), NODE, NOW, anonymize=False)
    record["starts"].append([T0, T0, 99])
    path = tmp_path / "record"
    path.write_text(json.dumps(record))
    with pytest.raises(RecordInvalid, match="99"):
        read(path)


def test_the_picture_is_well_formed_whatever_the_labels_say() -> None:
    """Names come from strangers."""
    picture = svg("<a> & b", "s", [("x < y", "keepscore", 3.0, "3 & more"), ("z", "odd", 0.0, "")])
    root = ET.fromstring(picture)
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "<a> & b" in texts
    assert "x < y" in texts
