"""A short chaos on each major, and proof that its observer would see what must not happen. The long
one is `make chaos`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .chaos import chaos
from .chaos_kubelet import publish
from .chaos_observer import Records, Use, findings
from .containerd import SUITES
from .images import Registry

LENGTH = 15.0  # seconds
SEED = 4
IMAGE = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def stocked(registry: Registry) -> Registry:
    publish(registry)
    return registry


@pytest.mark.parametrize("major", list(SUITES))
def test_nothing_in_use_goes_while_all_around_is_killed(
    major: str, stocked: Registry, tmp_path: Path
) -> None:
    """Pods come and go, tags move, the daemon and containerd die and come back, and marks that are
    too tight keep the daemon busy: no container loses its image, and nothing is left behind."""
    outcome = chaos(major, LENGTH, SEED, stocked, tmp_path)
    assert not outcome.violations, outcome.text()
    assert outcome.counts["removals"], outcome.text()
    assert outcome.counts["pods"], outcome.text()


def removal(at: str) -> list[dict[str, Any]]:
    return [{"image": IMAGE, "timestamp": f"2026-01-01T00:00:{at}Z"}]


def records(created: float, last_seen: float, *, missing: float | None = None) -> Records:
    """One container of the image; times are seconds of the same minute as the removals'."""
    minute = 1767225600.0
    uses = {"c": Use(frozenset({IMAGE}), minute + created, minute + last_seen)}
    noticed = {} if missing is None else {("c", IMAGE): minute + missing}
    return Records(uses, noticed)


def test_a_removal_under_a_container_is_a_violation() -> None:
    """Also when the image was pulled again before the observer looked."""
    (found,) = findings(records(10.0, 30.0), removal("20.000"))
    assert not found.in_the_window
    assert found.seconds == pytest.approx(10.0)


def test_a_removal_right_after_a_creation_is_counted_apart() -> None:
    """What no listing can have shown is counted on its own, with its delay."""
    (found,) = findings(records(10.0, 30.0), removal("10.300"))
    assert found.in_the_window


def test_an_image_that_vanished_under_a_container_is_a_violation_whoever_removed_it() -> None:
    """The daemon's log is no alibi: a missing image counts without a line there too."""
    (found,) = findings(records(10.0, 30.0, missing=20.0), [])
    assert not found.in_the_window


def test_a_removal_before_or_after_a_containers_life_is_none() -> None:
    """An image unused at that moment may go."""
    assert findings(records(10.0, 30.0), removal("09.000") + removal("31.000")) == []
