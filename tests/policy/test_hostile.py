"""Policies that try to hurt the reader: what YAML can do beyond plain data, and invalid bytes."""

from __future__ import annotations

import pytest

from reconciler.domain.legal import LONGEST
from reconciler.domain.reference import parse_reference
from reconciler.policy.nodes import MAX_DEPTH
from tests.policy.texts import HEAD, parsed, problems

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{last}'] * 9)}]\n"
    for last, this in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("mode: observe\n---\nmode: enforce\n", "4:1: expected one document, found a second one"),
        ("mode: observe\n---\n", "4:1: expected one document, found a second one"),
        (BOMB, "3:4: anchors and aliases (&, *) are not supported"),
        ("mode: &mode observe", "3:7: anchors and aliases (&, *) are not supported"),
        ("mode: *mode", "3:7: anchors and aliases (&, *) are not supported"),
        ("<<: *defaults", "3:5: anchors and aliases (&, *) are not supported"),
        ("mode: !!str observe", "3:7: tags are not supported, found tag:yaml.org,2002:str"),
        (
            "mode: !!python/object/apply:os.system [id]",
            "3:7: tags are not supported, found tag:yaml",
        ),
        ("%TAG ! tag:evil,2000:\n---\nmode: observe", "3:1: expected one document, found a second"),
        ("a: " + "[" * 100_000, f"3:{4 + MAX_DEPTH - 1}: nested deeper than {MAX_DEPTH} levels"),
        ("- a", "3:1: not valid YAML: did not find expected key"),
        ("mode: [", "4:1: not valid YAML: did not find expected node content"),
        ("mode: observe\n\tminimumAge: 1m", "4:1: not valid YAML: found a tab character"),
        ("é: \x00", "3:4: not valid YAML: the character U+0000 is not allowed"),
        ("# éé\r\nmode: \x07", "4:7: not valid YAML: the character U+0007 is not allowed"),
        ("mode: 'a\ufeffb'", "3:9: not valid YAML: the character U+FEFF is not allowed"),
        ("mode: '\x1b[2J'", "3:8: not valid YAML: the character U+001B is not allowed"),
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_what_is_more_than_plain_data_is_refused_where_it_stands(body: str, problem: str) -> None:
    """No bomb goes off, nothing is constructed, and the error has the place."""
    assert problems(body)[0].startswith(f"a.yaml:{problem}")
    assert len(problems(body)) == 1


@pytest.mark.parametrize("pattern", ["*/app", "**/app", "*"])
def test_a_star_without_quotes_is_an_error_that_says_to_quote_it(pattern: str) -> None:
    """The likeliest mistake of all: a pattern that begins with a star is YAML's alias."""
    (problem,) = problems(f"exclusions:\n- images:\n  - {pattern}\n")
    assert problem.endswith("to write a pattern that begins with '*', quote it")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "1:1: the file is empty; expected kind: ImagePolicy"),
        (b"# only\n# comments\n", "1:1: the file is empty; expected kind: ImagePolicy"),
        (b"---\n", "2:1: policy: expected keys and values, found nothing"),
        (b"[]", "1:1: policy: expected keys and values, found a list"),
        (b"42", "1:1: policy: expected keys and values, found '42'"),
        ("kind: é\nx: é".encode("latin-1"), "1:7: expected UTF-8, found the byte 0xe9"),
        (b"# \xc3\xa9\nkind: \xed\xa0\x80", "2:7: expected UTF-8, found the byte 0xed"),
        ("kind: ImagePolicy".encode("utf-16"), "1:1: expected UTF-8, found the byte 0xff"),
        (b"\x1f\x8b\x08", "1:2: expected UTF-8, found the byte 0x8b"),
        (b"\x00" * 4096, "1:1: not valid YAML: the character U+0000 is not allowed"),
    ],
)
def test_a_file_that_is_no_policy_at_all_is_refused(data: bytes, problem: str) -> None:
    """A truncated, zeroed, compressed or wrongly encoded file never counts as an empty policy."""
    assert problems(data) == [f"a.yaml:{problem}"]


def test_a_byte_order_mark_and_dos_line_ends_do_no_harm() -> None:
    """Some editors write them."""
    text = "\ufeff" + (HEAD + "mode: enforce\nexclusions: [{images: [a]}]\n").replace("\n", "\r\n")
    policy = parsed(text.encode())
    assert policy.mode.value == "enforce"
    assert str(policy.exclusions[0].place) == "a.yaml:4:24"


def test_a_file_cut_within_a_list_of_patterns_is_refused() -> None:
    """A disk that was full, or a copy that broke off, does not end a protection."""
    whole = HEAD + 'exclusions:\n- images: ["reg.example/base/**", "nginx:1.*"]\n'
    inside = range(whole.index('["') + 1, len(whole) - 1)
    for cut in inside:
        assert problems(whole[:cut].encode())


def test_patterns_made_to_be_slow_are_not() -> None:
    """Matching never goes back a step: hundreds of stars on a long name cost no more than they
    look like."""
    stars, parts = "a*" * 250, "**/a/" * 80
    policy = parsed(f"exclusions: [{{images: ['reg.example/{stars}b', 'reg.example/{parts}b']}}]")
    long = parse_reference("reg.example/" + "a" * 20_000)
    many = parse_reference("reg.example/" + "/".join("a" * 2000))
    for rule in policy.exclusions:
        assert not rule.pattern.matches_name(long)
        assert not rule.pattern.matches_name(many)


def test_patterns_that_no_name_needs_are_refused() -> None:
    """Longer than any name can be."""
    assert problems(f"exclusions: [{{images: ['{'a' * (LONGEST + 1)}']}}]") == [
        f"a.yaml:3:24: exclusions[0].images: expected at most {LONGEST} characters, "
        f"found {LONGEST + 1}",
    ]


def test_rules_of_many_parts_are_compared_in_their_time() -> None:
    """Importance rules are compared with one another: hundreds of parts must not be too deep."""
    rules = "".join(
        f"- {{tier: {tier}, images: ['reg.example/{'a/' * 120}{end}']}}\n"
        for tier, end in (("high", "**"), ("low", "*"), ("high", "b*"), ("low", "**/c"))
    )
    assert len(parsed(f"importance:\n{rules}").importance) == 4
