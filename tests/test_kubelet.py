"""Our high mark must come before kubelet's own, or it empties the cache first."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.domain.policy import Mark, Policy, Watermarks
from reconciler.kubelet import KubeletMarks, advice, read_marks
from tests.builders import marks

NEVER = 100.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", KubeletMarks(85, 85)),
        ("imageGCHighThresholdPercent: 70", KubeletMarks(70, 85)),
        ("imageGCHighThresholdPercent: true", KubeletMarks(85, 85)),
        ("imageGCHighThresholdPercent: '70'", KubeletMarks(85, 85)),
        ("evictionHard: {imagefs.available: 25%}", KubeletMarks(85, 75)),
        ("evictionHard: {imagefs.available: 10Gi}", KubeletMarks(85, NEVER)),
        ("evictionHard: {memory.available: 100Mi}", KubeletMarks(85, NEVER)),
        (
            "mergeDefaultEvictionSettings: true\nevictionHard: {memory.available: 100Mi}",
            KubeletMarks(85, 85),
        ),
        ("evictionHard: nonsense", KubeletMarks(85, 85)),
        ("- a list", KubeletMarks(85, 85)),
    ],
)
def test_kubelets_marks_are_read_from_its_file(
    tmp_path: Path, text: str, expected: KubeletMarks
) -> None:
    """With its own defaults for what is not given."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert read_marks(path) == (expected, None)


@pytest.mark.parametrize("data", [b"a: [", b"\xff\xfe", b"\x00"])
def test_a_broken_kubelet_file_is_told_and_its_defaults_assumed(
    tmp_path: Path, data: bytes
) -> None:
    """It is not ours to mend, and no reason to stop."""
    path = tmp_path / "config.yaml"
    path.write_bytes(data)
    found, trouble = read_marks(path)
    assert found == KubeletMarks(85, 85)
    assert trouble is not None
    assert trouble.endswith("assuming kubelet's defaults")
    assert "\n" not in trouble


def told(path: Path, high: float, low: float = 1) -> list[str]:
    return list(advice(path, Policy(watermarks=marks(high, low))))


def test_a_mark_not_below_kubelets_is_warned_of(tmp_path: Path) -> None:
    """At the same line kubelet may be first; below it nothing is said."""
    nowhere = tmp_path / "config.yaml"
    assert told(nowhere, 84.9) == []
    collects, evicts = told(nowhere, 85)
    assert collects.startswith("watermarks.high is 85%, kubelet collects images itself from 85% on")
    assert evicts.startswith("watermarks.high is 85%, kubelet evicts from 85% in use on")
    nowhere.write_text("imageGCHighThresholdPercent: 70\nevictionHard: {imagefs.available: 5%}\n")
    assert [one.split(":")[0] for one in told(nowhere, 75)] == [
        "watermarks.high is 75%, kubelet collects images itself from 70% on "
        "(imageGCHighThresholdPercent)"
    ]
    assert told(nowhere, 69) == []


def test_marks_in_bytes_are_not_compared(tmp_path: Path) -> None:
    """Without a filesystem nobody can say which comes first."""
    policy = Policy(watermarks=Watermarks(Mark(bytes=2 << 30), Mark(bytes=1 << 30)))
    assert list(advice(tmp_path / "none", policy)) == []
