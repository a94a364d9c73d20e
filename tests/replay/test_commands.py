"""`record` and `simulate` as typed: tables, JSON, pictures, and mistakes in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.ledger import Changes, ImageRecord, LogLine
from reconciler.store.ledger import Ledger
from tests.commands.desk import Done, exit_code

T0 = 1_700_000_000.0
KIND = "apiVersion: reconciler/v1\nkind: ImagePolicy\n"
Run = Callable[..., Done]


@pytest.fixture
def reconciler(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command of ours."""

    def run(*arguments: str) -> Done:
        code = exit_code(list(arguments))
        return Done(code, *capsys.readouterr())

    return run


def a_past(folder: Path, hours: int = 48) -> None:
    """A ledger with two days of starts."""
    ledger = Ledger.open(folder)
    images = {
        f"{n:02x}" * 32: ImageRecord(T0, names=(f"r.io/a{n}:v1",), size=10**8) for n in (1, 2)
    }
    lines = []
    for hour in range(hours):
        key, name = list(images)[hour % 2], f"c{hour}"
        lines.append(LogLine(T0 + hour * 3600, key, name))
        lines.append(LogLine(T0 + hour * 3600 + 60, key, name, ended=True))
    ledger.save(Changes(dict(images), {}, {}, lines))
    ledger.close()


def test_a_recorded_past_is_replayed_with_a_row_for_each_question(
    tmp_path: Path, reconciler: Run
) -> None:
    """record, then simulate: two marks, two orders, each a row; without us; and a picture."""
    a_past(tmp_path)
    out, picture = tmp_path / "record.json", tmp_path / "plot.svg"
    made = reconciler(
        "record", "--out", str(out), "--anonymize", "--state-dir", str(tmp_path),
        "-r", f"unix://{tmp_path}/none.sock",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert "48 starts of 2 images" in made.out
    done = reconciler(
        "simulate", "--from", str(out), "--disk", "1Gi", "--watermarks", "80/78,60/50",
        "--order", "keepscore,kubelet", "--plot", str(picture), "-o", "json",
    )  # fmt: skip
    assert done.code == 0, done.err
    rows = json.loads(done.out)["rows"]
    assert [(row["watermarks"], row["order"]) for row in rows] == [
        ("80/78", "keepscore"),
        ("80/78", "kubelet"),
        ("60/50", "keepscore"),
        ("60/50", "kubelet"),
        ("without reconciler", "kubelet"),
    ]
    assert picture.read_text().startswith("<svg")


def test_the_nodes_own_past_is_replayed_without_any_file(tmp_path: Path, reconciler: Run) -> None:
    """`simulate` alone answers for this node."""
    a_past(tmp_path)
    done = reconciler(
        "simulate", "--state-dir", str(tmp_path), "--disk", "1Gi",
        "-r", f"unix://{tmp_path}/none.sock",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "auto" in done.out
    assert "without reconciler" in done.out
    assert done.err == ""  # progress is for terminals


def simulated(reconciler: Run, *arguments: str) -> Any:
    done = reconciler("simulate", *arguments, "-o", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_what_is_asked_by_default_is_auto_the_policys_marks_and_nobody(
    tmp_path: Path, reconciler: Run
) -> None:
    """The policy's own marks are worth a row where it has any: also half of a pair, also bytes."""
    a_past(tmp_path)
    policy, state = tmp_path / "policy.yaml", ("--state-dir", str(tmp_path), "--disk", "1Gi")
    for marks, own in (
        ("auto", []),
        ("{high: 90%, low: 88%}", ["90/88"]),
        ("{high: 512Mi, low: 256Mi}", ["50/25"]),
        ("{high: 90%, low: auto}", ["90/auto"]),
    ):
        policy.write_text(f"{KIND}watermarks: {marks}\n")
        rows = simulated(reconciler, *state, "--policy", str(policy))["rows"]
        assert [row["watermarks"] for row in rows] == ["auto", *own, "without reconciler"]


def test_kubelets_share_of_the_removals_is_shown(tmp_path: Path, reconciler: Run) -> None:
    """Under its lines it has nothing to do; at 90/88 it does all the work, as it does alone."""
    a_past(tmp_path)
    document = simulated(
        reconciler, "--state-dir", str(tmp_path), "--disk", "780Mi", "--watermarks", "auto,90/88"
    )
    auto, wide, alone = document["rows"]
    assert auto["removals"] > 0
    assert (auto["removalsByKubelet"], auto["kubeletActed"]) == (0, 0)
    for row in (wide, alone):
        assert row["removalsByKubelet"] == row["removals"] > 0
        assert row["kubeletActed"] > 0


def test_a_record_too_short_to_say_much_says_so(tmp_path: Path, reconciler: Run) -> None:
    """Ten minutes of starts and no disk known: replayed anyway, with a warning, and without a
    mean use of 948 %."""
    a_past(tmp_path, hours=1)
    document = simulated(reconciler, "--state-dir", str(tmp_path))
    assert any("too short" in text for text in document["doubts"])
    assert all(0 <= row["meanUsedPercent"] <= 100 for row in document["rows"])
    shown = reconciler("simulate", "--state-dir", str(tmp_path))
    assert "The record is too short" in shown.out


def test_a_disk_that_can_not_have_held_this_past_is_refused(
    tmp_path: Path, reconciler: Run
) -> None:
    """Figures of a node that could not even run its pods would be read as those of its marks."""
    a_past(tmp_path)
    done = reconciler("simulate", "--state-dir", str(tmp_path), "--disk", "100Mi")
    assert done.code == 1
    assert "too small" in done.err
    assert "--disk" in done.err


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
        done = reconciler(*arguments)
        assert done.code == 1, arguments
        assert done.err.startswith("error: ")
        assert "Traceback" not in done.err


def test_marks_and_orders_that_make_no_sense_are_usage_errors(reconciler: Run) -> None:
    """80/90 is no pair of marks."""
    for flag, value in (
        ("--watermarks", "80/90"),
        ("--watermarks", "x"),
        ("--watermarks", "auto/80"),
        ("--order", "fifo"),
    ):
        assert reconciler("simulate", "--workload", "svc", flag, value).code == 2
