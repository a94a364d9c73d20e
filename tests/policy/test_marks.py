"""Marks that the policy leaves to the daemon, and its `kubelet` key."""

from __future__ import annotations

import pytest

from reconciler.domain.kubelet_lines import AS_SHIPPED
from reconciler.domain.policy import Mark, Watermarks
from tests.policy.texts import parsed, problems

HARD = [str(one) for one in AS_SHIPPED]
PERCENT = Mark(percent=70)


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("auto", Watermarks()),
        ("{high: auto, low: auto, inodes: auto}", Watermarks()),
        ("{high: 70%}", Watermarks(PERCENT)),
        ("{high: 70%, low: auto}", Watermarks(PERCENT)),
        ("{inodes: {high: 70%}}", Watermarks(inodes_high=PERCENT)),
        ("{high: auto, inodes: {high: 80%, low: 70%}}", Watermarks(None, None, Mark(80), PERCENT)),
    ],
)
def test_each_mark_may_be_left_to_the_daemon(text: str, marks: Watermarks) -> None:
    """A high one alone as well: how narrow the band is, is of no interest to most."""
    assert parsed(f"watermarks: {text}\n").watermarks == marks


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("atuo", "3:13: watermarks: expected auto, or high and low, found 'atuo'"),
        ("[auto]", "3:13: watermarks: expected keys and values, found a list"),
        ("{low: 70%}", "3:19: watermarks.low (70%) needs watermarks.high too"),
        ("{high: auto, low: 70%}", "3:31: watermarks.low (70%) needs watermarks.high"),
        ("{inodes: {high: auto, low: 9%}}", "3:40: watermarks.inodes.low (9%) needs"),
    ],
)
def test_a_low_mark_that_may_lie_above_the_high_one_is_refused(text: str, problem: str) -> None:
    """It would depend on kubelet's configuration, node by node."""
    (found,) = problems(f"watermarks: {text}\n")
    assert found.startswith(f"a.yaml:{problem}")


def test_kubelets_configuration_is_given_by_its_own_names() -> None:
    """So that it can be copied from kubelet's file; keys about memory are ignored."""
    kubelet = parsed(
        "kubelet:\n  imageGCHighThresholdPercent: 90\n  imageMaximumGCAge: 168h0m0s\n"
        "  evictionHard: {imagefs.available: 10%, memory.available: 100Mi, nodefs.available: 5Gi}\n"
        "  evictionSoft: {imagefs.available: 12%}\n"
    ).kubelet
    assert kubelet is not None
    assert (kubelet.source, kubelet.image_gc_high) == ("a.yaml:4:3", 90)
    assert kubelet.maximum_image_age == 7 * 86400
    assert [str(one) for one in kubelet.thresholds] == [
        "evictionHard imagefs.available<10%",
        f"evictionHard nodefs.available<{5 << 30}",
        "evictionSoft imagefs.available<12%",
    ]


def test_what_is_left_out_of_it_is_kubelets_default() -> None:
    """And not what some file here says: one source, one story."""
    kubelet = parsed("kubelet: {imageGCHighThresholdPercent: 70}\n").kubelet
    assert kubelet is not None
    assert [str(one) for one in kubelet.thresholds] == HARD
    assert parsed("").kubelet is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{imageGCHigh: 70}", "3:11: kubelet: unknown key 'imageGCHigh'"),
        (
            "{imageGCHighThresholdPercent: 101}",
            "3:40: kubelet.imageGCHighThresholdPercent: expected",
        ),
        ("{evictionHard: {imagefs.availabel: 10%}}", "3:26: kubelet.evictionHard: unknown key"),
        (
            "{evictionSoft: {imagefs.available: ten}}",
            "3:45: kubelet.evictionSoft.imagefs.available: expected a share like 15% or a quantity",
        ),
        (
            "{evictionSoft: {imagefs.available: 0}}",
            "3:45: kubelet.evictionSoft.imagefs.available: expected more than 0, or 0% for no thre",
        ),
        ("{evictionHard: 10%}", "3:25: kubelet.evictionHard: expected keys and values, found"),
    ],
)
def test_what_kubelet_would_refuse_is_refused_where_it_stands(text: str, problem: str) -> None:
    """A threshold that is read as none would put the mark above it."""
    found = problems(f"kubelet: {text}\n")
    assert any(one.startswith(f"a.yaml:{problem}") for one in found), found
