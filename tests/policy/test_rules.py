"""`importance` and `expendable` in the policy file: read, refused with their place, compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.domain.policy import Tier
from reconciler.policy.files import PolicyInvalid, parse_text, read_text

HEAD = "apiVersion: reconciler/v1\nkind: ImagePolicy\n"


def written(folder: Path, text: str, name: str = "policy.yaml") -> Path:
    path = folder / name
    path.write_text(HEAD + text)
    return path


def test_tiers_and_expendables_are_read_pattern_by_pattern(tmp_path: Path) -> None:
    """A rule of two patterns is two rules, each with its own place."""
    text = (
        "importance:\n"
        '  - images: ["a.io/ml/**", "b.io/x"]\n'
        "    tier: high\n"
        "    reason: slow\n"
        "expendable:\n"
        '  - images: ["a.io/ci/**"]\n'
        "    unusedFor: 1h30m\n"
    )
    policy, warnings = parse_text(read_text(written(tmp_path, text)))
    assert warnings == ()
    rules = policy.importance
    assert {(rule.tier, rule.reason, rule.place.line) for rule in rules} == {(Tier.HIGH, "slow", 4)}
    assert [(str(rule.pattern), rule.place.column) for rule in rules] == [
        ("a.io/ml/**", 14),
        ("b.io/x", 28),
    ]
    assert [(str(r.pattern), r.unused_for) for r in policy.expendable] == [("a.io/ci/**", 5400.0)]


@pytest.mark.parametrize(
    ("rule", "place", "said"),
    [
        ('importance:\n  - images: ["a"]\n', "4:13", "expected tier: high|low|scratch"),
        ('importance:\n  - {images: ["a"], tier: normal}\n', "4:27", "found 'normal'"),
        ("importance:\n  - {tier: high}\n", "4:5", "expected images: [pattern, ...]"),
        ('importance:\n  - {images: ["a"], tier: high, until: x}\n', "4:33", "unknown key 'until'"),
        ('expendable:\n  - images: ["a"]\n', "4:13", "expected unusedFor: 1h"),
        ('expendable:\n  - {images: ["a"], unusedFor: soon}\n', "4:32", "expected a duration"),
        ('expendable:\n  - {images: ["a?"], unusedFor: 1h}\n', "4:17", "'?' is no wildcard"),
        ('expendable:\n  - {images: ["*"], unusedFor: 1h}\n', "4:15", "expected a host and a part"),
        ('expendable:\n  - {images: ["**/**"], unusedFor: 1h}\n', "4:15", "expected a host and a"),
        ("expendable:\n  - {images: [ghcr.io], unusedFor: 1h}\n", "4:15", "found 'ghcr.io'"),
        ("expendable:\n  - {images: [ghcr.io/*], unusedFor: 1h}\n", "4:15", "for example"),
        ('expendable:\n  - {images: ["*/ci/*"], unusedFor: 1h}\n', "4:15", "for example"),
        ("expendable:\n  - {images: [ci/*], unusedFor: 1h}\n", "4:15", "write docker.io/ci/*"),
        (
            'expendable:\n  - {images: [a.io/x, "nginx:1.*"], unusedFor: 1h}\n',
            "4:23",
            "write docker.io/library/nginx:1.*",
        ),
        ('importance:\n  - {images: ["*"], tier: low}\n', "4:15", "expected a host and a part"),
        ("importance:\n  - {images: [nginx], tier: scratch}\n", "4:15", "docker.io/library/nginx"),
        ("importance:\n  - {images: [docker.io/*], tier: scratch}\n", "4:15", "for example"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_where_it_stands(
    tmp_path: Path, rule: str, place: str, said: str
) -> None:
    """file:line:column, what was expected, what was found; the last good policy stays in force."""
    path = written(tmp_path, rule)
    with pytest.raises(PolicyInvalid) as caught:
        parse_text(read_text(path))
    found = [str(problem) for problem in caught.value.problems]
    assert any(line.startswith(f"{path}:{place}: ") and said in line for line in found), found


def test_rules_that_keep_may_be_wide_and_ids_are_narrow(tmp_path: Path) -> None:
    """Keeping everything on purpose is allowed; an id is one image."""
    text = (
        'importance:\n  - {images: ["*", nginx], tier: high}\n'
        'expendable:\n  - {images: ["sha256:deadbeefcafe", a.io/ci], unusedFor: 1h}\n'
        'exclusions:\n  - {images: ["*", nginx]}\n'
    )
    policy, _ = parse_text(read_text(written(tmp_path, text)))
    assert (len(policy.importance), len(policy.expendable), len(policy.exclusions)) == (2, 2, 2)


def test_rules_that_disagree_are_warned_of_with_both_places(tmp_path: Path) -> None:
    """Also across the files of a directory; the more protective one is named as the winner."""
    written(tmp_path, 'importance:\n  - {images: ["a.io/ml/**"], tier: high}\n', "1.yaml")
    written(tmp_path, 'importance:\n  - {images: ["a.io/*/x"], tier: low}\n', "2.yaml")
    policy, warnings = parse_text(read_text(tmp_path))
    assert len(policy.importance) == 2
    (warning,) = warnings
    assert warning.place.file.endswith("2.yaml")
    assert "a.io/*/x tier low" in warning.text
    assert f"{tmp_path}/1.yaml:4:15: a.io/ml/** tier high" in warning.text


def test_rules_that_can_not_meet_are_not_warned_of(tmp_path: Path) -> None:
    """No noise: another repository, another tag, or the same said twice."""
    text = (
        "importance:\n"
        '  - {images: ["a.io/x:v1", "b.io/**"], tier: high}\n'
        '  - {images: ["a.io/x:v2"], tier: low}\n'
        '  - {images: ["b.io/y"], tier: high}\n'
    )
    assert parse_text(read_text(written(tmp_path, text)))[1] == ()


def test_too_many_rules_to_compare_are_said_to_be_so(tmp_path: Path) -> None:
    """Looking for disagreements is bounded, and the bound is reported."""
    patterns = ", ".join(f'"a.io/x{n}"' for n in range(300))
    text = f"importance:\n  - {{images: [{patterns}], tier: low}}\n"
    (warning,) = parse_text(read_text(written(tmp_path, text)))[1]
    assert "300 rules: too many" in warning.text
