"""A protection is one record, and whatever else knows it by name is named here when it does not:
the test that it holds, the judge, and what operators read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler.domain.protections import PROTECTIONS
from reconciler.domain.protections.protection import Kind, Protection
from tests.model.mutants import LEFT_OUT

ROOT = Path(__file__).parents[2]
each = pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda one: str(one.kind.value))


def test_every_kind_is_a_protection_once() -> None:
    """One that is not in the list would keep nothing, and nobody would learn of it."""
    assert [one.kind for one in PROTECTIONS] == list(Kind)


@each
def test_all_is_said_of_it(protection: Protection) -> None:
    """No image is kept without a word on why, and on what would let it go."""
    said = (protection.keeps, protection.otherwise, protection.because, protection.let_go)
    assert all(said)
    assert re.fullmatch(r"(S\d+(, S\d+)*)?", protection.promise)


@each
def test_a_test_has_seen_it_hold(protection: Protection) -> None:
    """In tests/domain, by its kind."""
    texts = [path.read_text() for path in (ROOT / "tests/domain").glob("*.py")]
    assert any(f"is Kind.{protection.kind.name}" in text for text in texts)


@each
def test_the_judge_misses_it_where_it_is_left_out(protection: Protection) -> None:
    """A seeded bug in tests/model/mutants.py leaves it out, and some world shows that."""
    assert protection.kind in LEFT_OUT


@each
@pytest.mark.parametrize("document", ["README.md", "docs/commands.md"])
def test_operators_read_of_it(document: str, protection: Protection) -> None:
    """In the table of what keeps an image, and in what JSON may say."""
    assert re.search(rf"[| \",]{protection.kind.value}[| \",]", (ROOT / document).read_text())
