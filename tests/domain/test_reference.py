"""Names as runtimes mean them; what patterns mean is in test_patterns.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.legal import InvalidPattern
from reconciler.domain.pattern import parse_pattern
from reconciler.domain.reference import InvalidReference, Reference, parse_reference

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
        ("[fd00::1]:5000/app:v1", Reference("[fd00::1]:5000/app", "v1")),
        ("Reg.Example/app:V1", Reference("reg.example/app", "V1")),
        ("registry-1.docker.io/library/nginx:1", Reference("docker.io/library/nginx", "1")),
        ("registry.hub.docker.com/grafana/app:1", Reference("docker.io/grafana/app", "1")),
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


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_is_refused_with_words(text: str) -> None:
    """No text from a registry makes the parsers fail in another way."""
    for parse, refusal in ((parse_reference, InvalidReference), (parse_pattern, InvalidPattern)):
        try:
            parse(text)
        except refusal as error:
            result = str(error)
        else:
            result = "taken"
        assert result


@given(st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5}){0,3}(:[a-z0-9]{1,5})?", fullmatch=True))
def test_a_name_matches_itself_as_a_pattern(text: str) -> None:
    """Whoever copies a name into the exclusions excludes that image."""
    assert parse_pattern(text).matches_name(parse_reference(text))
