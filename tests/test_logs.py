"""The log: hostile texts, one line per event, and troubles logged once."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.neutral import LONGEST, neutralised
from reconciler.telemetry import logs
from reconciler.telemetry.logs import MOST_ITEMS, get_logger
from reconciler.telemetry.troubles import CHANGES, REMIND, Once

HOSTILE = {
    "ansi": "\x1b[2J\x1b]0;title\x07",
    "line": "app\n2026-01-31T09:00:00Z info removed image=all",
    "return": "app\rremoved",
    "c1": "\x9b31m",
    "bidi": "\u202egnp.exe\u2066",
    "invisible": "ap\u200bp\u00ad\ufeff\u2060\u180e",
    "tags": "app\U000e0041\U000e007f",
    "separators": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "surrogate": "\udc9b",
    "nul": "\x00",
}


@pytest.fixture(autouse=True)
def _own_settings() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_is_shown_as_escapes(text: str) -> None:
    """Nothing moves the cursor, hides a character, turns the direction or begins a line."""
    shown = neutralised(text)
    assert shown.isprintable()
    assert shown.isascii()
    assert len(shown.splitlines()) == 1


@given(st.text(max_size=300))
def test_whatever_the_text_it_is_one_printable_line(text: str) -> None:
    """And plain text is left as it is."""
    shown = neutralised(text)
    assert len(shown.splitlines()) <= 1
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    if re.fullmatch(r"[ -~]*", text):
        assert shown == text


@pytest.mark.parametrize("text", ["reg.example/app:v1", "größe", "画像", "naïve 🚀"])
def test_honest_names_are_left_alone(text: str) -> None:
    """Letters of any script are not an attack."""
    assert neutralised(text) == text


def test_a_name_of_64_kib_is_cut() -> None:
    """Its length is shown; escapes are not cut in the middle."""
    assert neutralised("a" * 65536) == "a" * LONGEST + "... (65536 characters)"
    assert len(neutralised("\U000e0041" * 65536)) < 12 * LONGEST


def written(capsys: pytest.CaptureFixture[str], as_json: bool, **values: object) -> list[str]:
    logs.set_up(as_json, "info")
    get_logger().info("removed", **values)
    return capsys.readouterr().err.splitlines()


class Hostile:
    def __str__(self) -> str:
        return "hostile\n\x1b[2J"


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_an_event_is_one_line_whatever_is_in_it(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """Texts, lists, and objects that are shown by their own `str`."""
    hostile = "".join(HOSTILE.values())
    values = {
        "image": hostile,
        "names": [hostile, "b"],
        "other": Hostile(),
        "more": {hostile: hostile},
    }
    (line,) = written(capsys, as_json, **values)
    assert line.isascii()
    assert line.isprintable()


def test_a_json_line_keeps_numbers_and_lists(capsys: pytest.CaptureFixture[str]) -> None:
    """Others count with them."""
    values = {"freed": 7, "took": 0.5, "gone": True, "why": None, "names": ("a", "b")}
    (line,) = written(capsys, True, **values)
    logged = json.loads(line)
    assert logged.pop("timestamp").endswith("Z")
    expected = {"event": "removed", "level": "info", "names": ["a", "b"]}
    assert logged == values | expected


def test_a_text_line_cannot_be_made_to_say_more(capsys: pytest.CaptureFixture[str]) -> None:
    """A name with spaces, quotes and equals signs stays one value."""
    (line,) = written(capsys, False, image='a" removed=yes image="b', names=["x y", "z"])
    assert line.endswith(r'info    removed image="a\" removed=yes image=\"b" names="x y,z"')
    (line,) = written(capsys, False, image="reg.example/app:v1", error="", freed=7)
    assert line.endswith('removed image=reg.example/app:v1 error="" freed=7')


VALUE = re.compile(r' (\w+)=(?:"((?:[^"\\]|\\.)*)"|([^ "=]+))')


def read_back(line: str) -> dict[str, str]:
    """The values of a text line, as a log collector reads them."""
    _, _, _, fields = line.split(maxsplit=3)
    fields, found, at = f" {fields}", {}, 0
    while at < len(fields):
        one = VALUE.match(fields, at)
        assert one is not None, fields[at:]
        found[one[1]] = re.sub(r"\\(.)", r"\1", one[2]) if one[3] is None else one[3]
        at = one.end()
    return found


def items(value: str) -> list[str]:
    """The items of a list."""
    return [re.sub(r"\\(.)", r"\1", one) for one in re.findall(r"(?:[^,\\]|\\.)+", value)]


TRICKY = st.text(st.sampled_from('ab\\"= ,\n\u3000'), max_size=12) | st.text(max_size=40)


@given(TRICKY, st.lists(TRICKY.filter(bool), min_size=1, max_size=MOST_ITEMS), TRICKY)
def test_a_text_line_is_read_back_as_it_was_meant(one: str, names: list[str], other: str) -> None:
    """Whatever is in a name: a backslash before a quote ended the value early, and what followed
    was taken for other values."""
    head = {"timestamp": "now", "level": "info", "event": "removed"}
    event = logs._neutralise(None, "", {**head, "image": one, "names": names, "error": other})
    meant = dict(event)
    found = read_back(logs._as_text(None, "", event))
    assert found.keys() == {"image", "names", "error"}
    assert (found["image"], found["error"]) == (meant["image"], meant["error"])
    assert items(found["names"]) == meant["names"]


def test_a_value_that_is_not_a_number_is_json_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """JSON cannot express infinity, and a reader of JSON drops the whole line."""
    (line,) = written(capsys, True, score=float("inf"))
    assert json.loads(line, parse_constant=lambda _: None)["score"] == "inf"


def test_a_thousand_names_are_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """An image can have as many names as somebody likes."""
    (line,) = written(capsys, True, names=[f"name{number}" for number in range(1000)])
    names = json.loads(line)["names"]
    assert names[: MOST_ITEMS + 1] == [
        *[f"name{n}" for n in range(MOST_ITEMS)],
        "... (1000 in all)",
    ]


class Disk(io.RawIOBase):
    """A file on a disk with room for so many bytes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.content = room, b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = bytes(data)[: self.room]
        self.room -= len(part)
        self.content += part
        return len(part)


def log_on(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Logs to a disk from now on; returns a list with an entry for each line that is lost."""
    stderr = io.TextIOWrapper(io.BufferedWriter(disk), "utf-8")
    monkeypatch.setattr(sys, "stderr", stderr)
    lost: list[None] = []
    logs.set_up(True, "info", lost=lambda: lost.append(None))
    return lost


def test_lines_that_a_full_disk_does_not_take_are_lost_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They ended the daemon, which was there to make room. Once there is room a line begins on a
    line of its own, also after one that was cut."""
    disk = Disk(room=0)
    lost = log_on(disk, monkeypatch)
    get_logger().info("before")
    disk.room = 20
    get_logger().info("cut")
    get_logger().info("meanwhile")
    assert (len(lost), len(disk.content)) == (3, 20)
    disk.room = 1000
    get_logger().info("after")
    get_logger().info("later")
    first, *others = disk.content.splitlines()
    assert len(first) == 20
    assert [json.loads(line)["event"] for line in others] == ["after", "later"]
    assert len(lost) == 3


def test_a_log_that_is_closed_does_not_end_what_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines are lost, and counted."""
    disk = Disk(room=1000)
    lost = log_on(disk, monkeypatch)
    disk.close()
    get_logger().info("removed")
    assert (len(lost), disk.content) == (1, b"")


def test_a_trouble_is_logged_once_and_then_counted() -> None:
    """A thousand failures in ten minutes are one line, and one that counts them."""
    once = Once()
    assert once.due("listing", "refused", 0.0) == 0
    assert {once.due("listing", "refused", second) for second in range(1, 600)} == {None}
    assert once.due("listing", "refused", REMIND) == 599
    assert once.due("listing", "refused", REMIND + 1) is None


def test_a_trouble_that_ends_or_changes_is_logged_again() -> None:
    """What is different is news; topics do not mix."""
    once = Once()
    assert once.due("listing", "refused", 0.0) == 0
    assert once.due("events", "refused", 1.0) == 0
    assert once.due("listing", "timed out", 2.0) == 0
    assert once.over("listing")
    assert not once.over("listing")
    assert once.due("listing", "timed out", 3.0) == 0


def test_a_trouble_that_keeps_changing_does_not_fill_the_log() -> None:
    """A text with a number in it, or two troubles in turn: ten lines in ten minutes."""
    once = Once()
    counts = [once.due("listing", f"took {n} s", n / 10) for n in range(5000)]
    assert len([count for count in counts if count is not None]) == CHANGES
    assert once.due("listing", "took 1 s", 2 * REMIND) == 0
