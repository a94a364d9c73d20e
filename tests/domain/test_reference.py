"""Names and patterns: one wrong match is one wrong image."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.reference import (
    InvalidPattern,
    InvalidReference,
    Pattern,
    Reference,
    parse_pattern,
    parse_reference,
)

SHA = "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", Reference("docker.io/library/nginx")),
        ("nginx:1.27", Reference("docker.io/library/nginx", "1.27")),
        ("team/app:v1", Reference("docker.io/team/app", "v1")),
        ("index.docker.io/library/nginx:1", Reference("docker.io/library/nginx", "1")),
        ("docker.io/nginx:1", Reference("docker.io/library/nginx", "1")),
        ("localhost/app:v1", Reference("localhost/app", "v1")),
        ("localhost:5000/app", Reference("localhost:5000/app")),
        ("reg.example:5000/a/b:v1", Reference("reg.example:5000/a/b", "v1")),
        (f"reg.example/a@sha256:{SHA}", Reference("reg.example/a", None, f"sha256:{SHA}")),
        (f"reg.example/a:v@sha256:{SHA}", Reference("reg.example/a", "v", f"sha256:{SHA}")),
    ],
)
def test_names_are_read_as_runtimes_mean_them(text: str, expected: Reference) -> None:
    """A name left short means the same image as the one written out."""
    assert parse_reference(text) == expected


@pytest.mark.parametrize(
    "text", ["", "a b", "a//b", "/a", "a/", "a:", "a@sha256:12", "a\n", "a\x00"]
)
def test_what_can_be_no_name_is_refused(text: str) -> None:
    """A text that is no name is an error, not some other image."""
    with pytest.raises(InvalidReference):
        parse_reference(text)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("nginx", "nginx:1.27", True),
        ("nginx", f"nginx@sha256:{SHA}", True),
        ("nginx", "nginx-extra:1", False),
        ("nginx:1.*", "nginx:1.27", True),
        ("nginx:1.*", "nginx:1", False),
        ("nginx:1.*", f"nginx@sha256:{SHA}", False),
        ("nginx:*", "other/nginx:1", False),
        ("localhost:5000/app:*", "localhost:5001/app:v1", False),
        ("localhost:*/app", "localhost:5001/app:v1", True),
        ("reg.example/base/**", "reg.example/base/a/b:1", True),
        ("reg.example/base/**", "reg.example/base:1", False),
        ("reg.example/base/*", "reg.example/base/a/b:1", False),
        ("reg.example/base/*", "reg.example/base/a:1", True),
        ("**/nginx", "nginx:1", True),
        ("**/nginx", "reg.example/a/b/nginx:1", True),
        ("**/**", "anything:1", True),
        ("reg.example/a*z", "reg.example/abcz:1", True),
        ("reg.example/a*z", "reg.example/abcy:1", False),
        ("reg.example/App", "reg.example/app:1", False),
        ("reg.example/a/**/z", "reg.example/a/b/c/z:1", True),
        ("reg.example/a/**/z", "reg.example/a/z:1", False),
        (f"reg.example/a@sha256:{SHA}", f"reg.example/a@sha256:{SHA}", True),
        (f"reg.example/a@sha256:{SHA}", "reg.example/a:v1", False),
        ("sha256:" + SHA[:12], f"reg.example/a@sha256:{SHA}", True),
        ("sha256:" + "b" * 12, f"reg.example/a@sha256:{SHA}", False),
    ],
)
def test_patterns_match_on_boundaries(pattern: str, name: str, matches: bool) -> None:
    """A rule covers what it says and nothing beside it: `name:*` never takes `name-foo`."""
    assert parse_pattern(pattern).matches_name(parse_reference(name)) is matches


@pytest.mark.parametrize(
    ("pattern", "offset"),
    [
        ("", 0),
        ("ng?nx", 2),
        ("nginx:[12]", 6),
        ("^nginx", 0),
        ("a b", 1),
        ("reg.example/a**", 12),
        ("**", 0),
        ("reg.example//a", 11),
        ("nginx:", 6),
        ("nginx@sha256:12", 6),
        ("sha256:abc", 7),
        ("sha256:ABCDEF123456", 7),
    ],
)
def test_a_bad_pattern_says_where_it_is_bad(pattern: str, offset: int) -> None:
    """What is no pattern is refused, and the fault is pointed at."""
    with pytest.raises(InvalidPattern) as refused:
        parse_pattern(pattern)
    assert refused.value.offset == offset


SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", "aab", "ba"]), min_size=1, max_size=5)
PATTERN_SEGMENTS = st.lists(
    st.sampled_from(["a", "b", "ab", "*", "**", "a*", "*b", "a*b", "*a*"]), min_size=1, max_size=5
)


@given(
    PATTERN_SEGMENTS,
    SEGMENTS,
    st.sampled_from([None, "v*", "v1", "*"]),
    st.sampled_from(["v1", "w"]),
)
def test_matching_agrees_with_a_slow_oracle(
    pattern: list[str], name: list[str], pattern_tag: str | None, tag: str
) -> None:
    """The fast matcher and a regular expression over the same words never disagree."""
    segments = ("reg.example", *pattern)
    fast = Pattern("", segments, pattern_tag).matches_name(
        Reference("/".join(("reg.example", *name)), tag)
    )
    slow = "/".join(_expression(segment) for segment in segments)
    whole = re.fullmatch(slow, "/".join(("reg.example", *name))) is not None
    in_tag = pattern_tag is None or re.fullmatch(pattern_tag.replace("*", ".*"), tag) is not None
    assert fast is (whole and in_tag)


def _expression(segment: str) -> str:
    if segment == "**":
        return "[^/]+(?:/[^/]+)*"
    return re.escape(segment).replace(r"\*", "[^/]*")


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_is_refused_with_words(text: str) -> None:
    """No text from a registry makes the parsers fail in another way."""
    for parse, refusal in ((parse_reference, InvalidReference), (parse_pattern, InvalidPattern)):
        try:
            parse(text)
        except refusal as error:
            told = str(error)
        else:
            told = "taken"
        assert told


@given(st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5}){0,3}(:[a-z0-9]{1,5})?", fullmatch=True))
def test_a_name_matches_itself_as_a_pattern(text: str) -> None:
    """Whoever copies a name into the exclusions excludes that image."""
    assert parse_pattern(text).matches_name(parse_reference(text))
