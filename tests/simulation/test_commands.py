"""`record` and `simulate` as typed: tables, JSON, pictures, and mistakes in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.domain.ledger import Changes, ImageRecord, LogLine
from reconciler.ledger import Ledger
from tests.commands.desk import Done, exit_code

T0 = 1_700_000_000.0
Run = Callable[..., Done]


@pytest.fixture
def reconciler(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command of ours."""

    def run(*arguments: str) -> Done:
        code = exit_code(list(arguments))
        return Done(code, *capsys.readouterr())

    return run


def a_past(folder: Path) -> None:
    """A ledger with two days of starts."""
    ledger = Ledger.open(folder)
    images = {
        f"{n:02x}" * 32: ImageRecord(T0, names=(f"r.io/a{n}:v1",), size=10**8) for n in (1, 2)
    }
    lines = []
    for hour in range(48):
        key, name = list(images)[hour % 2], f"c{hour}"
        lines.append(LogLine(T0 + hour * 3600, key, name))
        lines.append(LogLine(T0 + hour * 3600 + 60, key, name, ended=True))
    ledger.save(Changes(dict(images), {}, {}, lines))
    ledger.close()


def test_a_recorded_past_is_replayed_with_a_row_for_each_question(
    tmp_path: Path, reconciler: Run
) -> None:
    """record, then simulate: two marks, two orders, four rows, and a picture."""
    a_past(tmp_path)
    out, picture = tmp_path / "record.json", tmp_path / "plot.svg"
    made = reconciler(
        "record", "--out", str(out), "--anonymize", "--state-dir", str(tmp_path),
        "-r", f"unix://{tmp_path}/none.sock",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert "48 starts of 2 images" in made.out
    told = reconciler(
        "simulate", "--from", str(out), "--disk", "1Gi", "--watermarks", "80/78,60/50",
        "--order", "keepscore,kubelet", "--plot", str(picture), "-o", "json",
    )  # fmt: skip
    assert told.code == 0, told.err
    rows = json.loads(told.out)["rows"]
    assert [(row["watermarks"], row["order"]) for row in rows] == [
        ("80/78", "keepscore"),
        ("80/78", "kubelet"),
        ("60/50", "keepscore"),
        ("60/50", "kubelet"),
    ]
    assert picture.read_text().startswith("<svg")


def test_the_nodes_own_past_is_replayed_without_any_file(tmp_path: Path, reconciler: Run) -> None:
    """`simulate` alone answers for this node."""
    a_past(tmp_path)
    told = reconciler(
        "simulate", "--state-dir", str(tmp_path), "--disk", "1Gi",
        "-r", f"unix://{tmp_path}/none.sock",
    )  # fmt: skip
    assert told.code == 0, told.err
    assert "keepscore" in told.out
    assert told.err == ""  # progress is for terminals


def test_a_past_that_can_not_be_had_is_said_so(tmp_path: Path, reconciler: Run) -> None:
    """No ledger, no such file, no such workload, no folder of traces: 1, a line, no traceback."""
    for arguments in (
        ("simulate", "--state-dir", str(tmp_path)),
        ("simulate", "--from", str(tmp_path / "none")),
        ("simulate", "--workload", "nonesuch"),
        ("simulate", "--workload", "azure"),
        ("simulate", "--workload", "prow", "--traces", str(tmp_path)),
        ("record", "--out", str(tmp_path / "x"), "--state-dir", str(tmp_path)),
    ):
        told = reconciler(*arguments)
        assert told.code == 1, arguments
        assert told.err.startswith("error: ")
        assert "Traceback" not in told.err


def test_marks_and_orders_that_make_no_sense_are_usage_errors(reconciler: Run) -> None:
    """80/90 is no pair of marks."""
    for flag, value in (("--watermarks", "80/90"), ("--watermarks", "x"), ("--order", "fifo")):
        assert reconciler("simulate", "--workload", "svc", flag, value).code == 2
