"""What a pattern means to somebody who knows kubectl, kyverno or `pinned_images`, case by case."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.domain.exclusion import Exclusions
from reconciler.domain.inventory import Image
from reconciler.domain.legal import InvalidPattern
from reconciler.domain.pattern import Pattern, Scope, parse_pattern
from reconciler.domain.reference import InvalidReference, Reference, parse_reference
from tests.builders import T0, exclusion

SHA = "c2" * 32
HEX = "0123456789abcdef" * 5
DIGEST = f"sha256:{SHA}"


def protects(pattern: str, name: str, key: str = "f" * 64) -> bool:
    """Whether an exclusion keeps an image of one name; the index and a plain match must agree."""
    tags, digests = ((), (name,)) if "@" in name else ((name,), ())
    image = Image(f"sha256:{key}", tags, digests, 1, False)
    found = Exclusions([exclusion(pattern)]).protecting(image, T0) is not None
    assert found is (parse_pattern(pattern).match(image) is not None)
    return found


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("nginx", "docker.io/library/nginx:1.27"),
        ("nginx*", "docker.io/library/nginx-extra:1"),
        ("nginx:1.*", "docker.io/library/nginx:1.27"),
        ("ghcr.io/org/*", "ghcr.io/org/app:v1"),
        ("ghcr.io/org/*", "ghcr.io/org/team/app:v1"),
        ("ghcr.io/org/**", "ghcr.io/org/team/app:v1"),
        ("ghcr.io/**/app", "ghcr.io/org/team/app:v1"),
        ("ghcr.io/a**z", "ghcr.io/a/b/cz:v1"),
        ("ghcr.io", "ghcr.io/org/app:v1"),
        ("ghcr.io", f"ghcr.io/org/app@{DIGEST}"),
        ("ghcr.io/*", "ghcr.io/org/app:v1"),
        ("ghcr.io*", "ghcr.io/org/app:v1"),
        ("ghcr.io*", "ghcr.io:8443/org/app:v1"),
        ("*", "ghcr.io/org/app:v1"),
        ("*", f"docker.io/library/app@{DIGEST}"),
        ("**", "ghcr.io/org/app:v1"),
        ("**/**", "ghcr.io/org/app:v1"),
        ("*:*", "ghcr.io/org/app:v1"),
        ("*:*", f"ghcr.io/org/app@{DIGEST}"),
        ("*nginx*", "ghcr.io/org/nginx-foo:v1"),
        ("*/nginx", "ghcr.io/org/nginx:v1"),
        ("**/nginx", "ghcr.io/org/nginx:v1"),
        ("*/nginx", "docker.io/library/nginx:1"),
        ("*:latest", "ghcr.io/org/app:latest"),
        ("*:latest", "docker.io/library/app:latest"),
        (f"*@{DIGEST}", f"ghcr.io/org/app@{DIGEST}"),
        ("*.dkr.ecr.*.amazonaws.com/team/*", "1234.dkr.ecr.eu-west-1.amazonaws.com/team/app:v1"),
        ("gh*/org/app", "ghcr.io/org/app:v1"),
        ("mcr.microsoft.com/*", "mcr.microsoft.com/dotnet/aspnet:9.0"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:1"),
        ("registry-1.docker.io/library/nginx", "docker.io/library/nginx:1"),
        ("registry-1.docker.io/nginx", "docker.io/library/nginx:1"),
        ("registry.hub.docker.com/library/nginx", "docker.io/library/nginx:1"),
        ("Index.Docker.io", "docker.io/grafana/grafana:11"),
        ("nginx", "registry-1.docker.io/library/nginx:1"),
        ("docker.io/nginx", "docker.io/library/nginx:1"),
        ("docker.io/nginx*", "docker.io/library/nginx-extra:1"),
        ("docker.io/graf*", "docker.io/grafana/grafana:11"),
        ("docker.io", "docker.io/grafana/grafana:11"),
        ("docker.io", "docker.io/library/nginx:1"),
        ("docker.io/*", "docker.io/grafana/grafana:11"),
        ("docker.io/**", "docker.io/library/nginx:1"),
        ("docker.io/grafana/*", "docker.io/grafana/grafana:11"),
        ("grafana/*", "docker.io/grafana/grafana:11"),
        ("registry:5000/app:*", "registry:5000/app:v1"),
        ("registry:5000/app", "registry:5000/app:v1"),
        ("registry:5000/*", "registry:5000/app:v1"),
        ("localhost/app", "localhost/app:v1"),
        ("localhost", "localhost/app:v1"),
        ("LocalHost/app", "localhost/app:v1"),
        ("localhost:5000", "localhost:5000/team/app:v1"),
        ("localhost:*", "localhost:5000/team/app:v1"),
        ("localhost:50*/app", "localhost:5001/app:v1"),
        ("localhost*", "localhost:5000/app:v1"),
        ("*:5000/app", "registry.local:5000/app:v1"),
        ("*:5000", "registry.local:5000/app:v1"),
        ("*:5000", "ghcr.io/org/app:5000"),
        ("[fd00::1]:5000/app", "[fd00::1]:5000/app:v1"),
        ("[fd00::1]/app", "[fd00::1]/app:v1"),
        ("[fd00::1]", "[fd00::1]/app:v1"),
        ("[fd00::1]:5000", "[fd00::1]:5000/app:v1"),
        ("[FD00::1]:5000", "[fd00::1]:5000/app:v1"),
        ("[fd00::1]:5000/*:v1", "[fd00::1]:5000/team/app:v1"),
        ("[fd00:*]:5000/app", "[fd00::1]:5000/app:v1"),
        ("Ghcr.io/org/app", "ghcr.io/org/app:v1"),
        ("ghcr.io/org/app", "GHCR.io/org/app:v1"),
        ("REGISTRY:5000/app", "registry:5000/app:v1"),
        ("app:*", f"docker.io/library/app@{DIGEST}"),
        ("app:**", f"docker.io/library/app@{DIGEST}"),
        ("app", f"docker.io/library/app@{DIGEST}"),
        (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}"),
        (f"app:v1@{DIGEST}", f"docker.io/library/app@{DIGEST}"),
        (f"app@sha512:{'0' * 128}", f"docker.io/library/app@sha512:{'0' * 128}"),
        (f"sha256:{SHA[:12]}", f"ghcr.io/org/app@{DIGEST}"),
        (DIGEST, f"ghcr.io/org/app@{DIGEST}"),
        (SHA[:12], f"ghcr.io/org/app@{DIGEST}"),
        ("ghcr.io/org/app:*-prod", "ghcr.io/org/app:v1-prod"),
        ("ghcr.io/org/app:V*", "ghcr.io/org/app:V1"),
        ("ghcr.io/*:v1", "ghcr.io/org/app:v1"),
        ("registry.local:5000", "registry.local:5000/team/app:v1"),
        ("registry.local:5000", "docker.io/library/registry.local:5000"),
        ("registry:5000", "docker.io/library/registry:5000"),
        ("nginx:5000", "docker.io/library/nginx:5000"),
        ("nginx:20261128", "docker.io/library/nginx:20261128"),
        ("my.app:20261128", "docker.io/library/my.app:20261128"),
        ("my.app:0", "docker.io/library/my.app:0"),
        ("my.app", "docker.io/library/my.app:v1"),
        ("my.app:v1", "docker.io/library/my.app:v1"),
        ("ghcr.io/org/app", "ghcr.io/org/app/sidecar:v1"),
        ("deadbeefcafe", "docker.io/library/deadbeefcafe:v1"),
        ("deadbeefcafe:v1", "docker.io/library/deadbeefcafe:v1"),
        ("ghcr.io/a__b/c--d/e.f_g", "ghcr.io/a__b/c--d/e.f_g:v1"),
        (f"app:{'v' * 128}", f"docker.io/library/app:{'v' * 128}"),
        (f"app:*{'v' * 128}", f"docker.io/library/app:{'v' * 128}"),
        (f"ghcr.io/{'a' * 255}", f"ghcr.io/{'a' * 255}:v1"),
        ("app:_v", "docker.io/library/app:_v"),
    ],
)
def test_a_rule_protects_what_its_writer_means(pattern: str, name: str) -> None:
    """Whoever reads one of these as anything else loses an image that was to be kept."""
    assert protects(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("nginx", "registry.example.com/nginx:1.27"),
        ("nginx", "docker.io/library/nginx-extra:1"),
        ("nginx", "docker.io/nginx/nginx-ingress:3"),
        ("nginx:1.*", "docker.io/library/nginx:1"),
        ("nginx:1.*", f"docker.io/library/nginx@{DIGEST}"),
        ("docker.io/nginx", "docker.io/nginx/nginx-ingress:3"),
        ("index.docker.io/nginx", "docker.io/nginx/nginx-ingress:3"),
        ("ghcr.io/org/*", "ghcr.io/organic/app:v1"),
        ("ghcr.io/org/*", "ghcr.io/org:v1"),
        ("ghcr.io/org", "ghcr.io/organic/app:v1"),
        ("ghcr.io", "ghcr.io.example.com/org/app:v1"),
        ("ghcr.io", "ghcr.io:8443/org/app:v1"),
        ("*/nginx", "ghcr.io/org/nginx-foo:v1"),
        ("*/nginx", "ghcr.io/org/mynginx:v1"),
        ("*:latest", "ghcr.io/org/app:v1"),
        ("app:V1", "docker.io/library/app:v1"),
        ("app:v*", f"docker.io/library/app@{DIGEST}"),
        ("app:*", "docker.io/library/app/sidecar:v1"),
        ("ghcr.io/org/app:*-prod", "ghcr.io/org/app:v1-test"),
        ("ghcr.io/org/app:v1", "ghcr.io/org/app/sidecar:v1"),
        (f"ghcr.io/org/app@{DIGEST}", "ghcr.io/org/app:v1"),
        (f"ghcr.io/org/app@{DIGEST}", f"ghcr.io/org/app@sha256:{'0' * 64}"),
        ("localhost:5000/app", "localhost:5001/app:v1"),
        ("localhost", "localhost:5000/app:v1"),
        ("registry:5000", "registry:5000/app:v1"),
        ("*:5000/app", "registry.local:5001/app:v1"),
        ("[fd00::1]:5000/app", "[fd00::2]:5000/app:v1"),
        ("gh*/org/app", "docker.io/gh/org/app:v1"),
        ("registry.local:5000", "registry.local:5001/team/app:v1"),
        ("nginx:5000", "docker.io/library/nginx:1"),
        (f"sha256:{SHA[:12]}", f"ghcr.io/org/app@sha256:{'0' * 64}"),
        ("deadbeefcafe:v1", "docker.io/library/deadbeefcafe:v2"),
    ],
)
def test_a_rule_leaves_what_its_writer_does_not_mean(pattern: str, name: str) -> None:
    """A rule that protects too much fills the disk."""
    assert not protects(pattern, name)


@pytest.mark.parametrize(
    ("digits", "is_id"), [(11, False), (12, True), (13, True), (64, True), (65, False)]
)
def test_digits_alone_are_an_id_as_crictl_prints_it(digits: int, is_id: bool) -> None:
    """Also a name: both are kept. What is too short or too long for an id is a name alone."""
    text, key = HEX[:digits], HEX[:64]
    assert protects(text, "ghcr.io/org/app:v1", key) is is_id
    assert protects(text, f"docker.io/library/{text}:v1")


@pytest.mark.parametrize(
    ("pattern", "offset", "said"),
    [
        ("", 0, "found an empty text"),
        (" nginx", 0, "a name has no ' '; write nginx"),
        ("nginx ", 5, "a name has no ' '; write nginx"),
        ("a b", 1, "a name has no ' '"),
        ("nginx\t", 5, "a name has no '\\t'"),
        ("ghcr.io/MyOrg/App:v1", 8, "a path has no upper case, found 'M'; write ghcr.io/myorg/app"),
        ("ghcr.io/org/App:V1", 12, "write ghcr.io/org/app:V1"),
        ("MyOrg/app", 0, "a path has no upper case, found 'M'; write myorg/app"),
        ("Nginx", 0, "a path has no upper case, found 'N'; write nginx"),
        ("DEADBEEFCAFE", 0, "write deadbeefcafe"),
        ("sha256:DEADBEEFCAFE", 7, "(0-9a-f), found 'sha256:DEADBEEFCAFE'; write sha256:deadbeef"),
        ("sha256:deadbeefcaf", 7, "expected sha256: and 12 to 64 hex digits"),
        (f"sha256:{'a' * 65}", 7, "expected sha256: and 12 to 64 hex digits"),
        ("sha256:*", 7, "expected sha256: and 12 to 64 hex digits"),
        (f"sha512:{'a' * 128}", 0, "expected *@sha512: and 128 digits"),
        ("registry.example.com/.*", 21, "write registry.example.com/*"),
        ("ghcr.io/.*/app", 8, "belongs to a regular expression"),
        ("^ghcr.io/.*$", 0, "'^' belongs to a regular expression"),
        ("^nginx$", 0, "write nginx"),
        (r"ghcr\.io/org/app", 4, r"'\\' belongs to a regular expression"),
        ("nginx|redis", 5, "'|' belongs to a regular expression"),
        ("ghcr.io/(a|b)/c", 8, "'(' belongs to a regular expression"),
        ("ghcr.io/org/.+", 13, "write ghcr.io/org/*"),
        (".*nginx.*", 0, "belongs to a regular expression"),
        ("nginx:.*", 6, "write nginx:*"),
        ("ng?nx", 2, "'?' is no wildcard here"),
        ("nginx:[12]", 6, "'[' is no wildcard here"),
        ("[nr]ginx", 0, "'[' is no wildcard here"),
        ("ghcr.io/[a-z]*/x", 8, "'[' is no wildcard here"),
        ("nginx:{1,2}", 6, "'{' is no wildcard here"),
        ("nginx,redis", 5, "a path has no ','"),
        ("!nginx", 0, "there is no negation"),
        ("<none>", 0, "a path has no '<'"),
        ("https://ghcr.io/org/app", 0, "no scheme, found https://; write ghcr.io/org/app"),
        ("docker://nginx", 0, "no scheme, found docker://; write nginx"),
        ("localhost:99999/app", 10, "expected a port from 1 to 65535, found '99999'"),
        ("localhost:0/app", 10, "expected a port from 1 to 65535, found '0'"),
        ("localhost:/app", 10, "expected a port from 1 to 65535, found ''"),
        ("localhost:http/app", 10, "expected a port from 1 to 65535, found 'http'"),
        ("A*b/c", 0, "a path has no 'A'; write a*b/c"),
        ("registry.local:99999", 15, "expected a port from 1 to 65535, found '99999'"),
        ("localhost:999999", 10, "expected a port from 1 to 65535, found '999999'"),
        ("localhost:99999", 10, "expected a port from 1 to 65535, found '99999'"),
        ("[fd00::1]:99999/app", 10, "expected a port from 1 to 65535, found '99999'"),
        ("nginx:1.27/app", 6, "a tag stands at the end"),
        ("ghcr.io/org:5000/app", 11, "a ':' stands before the tag, at the end, or before the port"),
        ("nginx:1:2", 5, "a ':' stands before the tag"),
        ("fd00::1/app", 4, "an IPv6 address stands in brackets"),
        ("[fd00::1/app", 0, "'[' is no wildcard"),
        ("[fd00::g]/app", 0, "'[' is no wildcard"),
        ("[fd00:::1]/app", 0, "expected an IPv6 address in brackets"),
        ("[12]/app", 0, "expected an IPv6 address in brackets, found [12]"),
        ("[fd00::1]:v1", 0, "a host has no tag or digest"),
        (f"nginx:{'v' * 129}", 6, "a tag has 128 characters at most, found 129"),
        ("nginx:-v", 6, "a tag does not begin with '-'"),
        ("nginx:.v", 6, "a tag does not begin with '.'"),
        ("nginx:v+1", 7, "'+' belongs to a regular expression"),
        ("nginx:v~1", 7, "a tag has no '~'"),
        ("nginx:", 5, "expected a tag after ':', found nothing"),
        (":v1", 0, "expected a name before ':', found nothing; write *:v1"),
        (f"@{DIGEST}", 0, f"expected a name before '@', found nothing; write {DIGEST}"),
        ("nginx@sha256:abc", 6, "a prefix is written alone, sha256: and 12 digits or more"),
        ("nginx@sha256:*", 6, "a digest has no wildcard"),
        ("nginx@*", 6, "a digest has no wildcard"),
        ("nginx@", 6, "expected a digest after @"),
        ("nginx@latest", 6, "expected a digest after @"),
        (f"nginx@sha256:{'A' * 64}", 6, f"write nginx@sha256:{'a' * 64}"),
        (f"nginx@sha256:{'a' * 65}", 6, "expected a digest after @"),
        (f"nginx@sha512:{'a' * 64}", 6, "expected a digest after @"),
        (f"nginx@{DIGEST}@{DIGEST}", 6, "expected a digest after @"),
        ("reg.example//a", 11, "found an empty part of a path; write reg.example/a"),
        ("/nginx", 0, "found an empty part of a path; write nginx"),
        ("ghcr.io/org/", 11, "found an empty part of a path; write ghcr.io/org"),
        ("//", 0, "found an empty part of a path"),
        ("./nginx", 0, "not with '.'"),
        ("ghcr.io/-app", 8, "not with '-'"),
        ("ghcr.io/app-", 11, "not with '-'"),
        ("ghcr.io/_app/x", 8, "not with '_'"),
        ("ghcr.io/app./x", 11, "not with '.'"),
        ("ghcr.io/a___b", 9, "no name has '___'"),
        ("ghcr.io/a..b", 9, "no name has '..'"),
        ("ghcr.io/a._b", 9, "no name has '._'"),
        ("ghcr.io/a-_b", 9, "no name has '-_'"),
        ("my_registry.local/app", 2, "a host has no '_'"),
        ("-ghcr.io/app", 0, "a part of a host begins and ends with a letter or digit"),
        ("ghcr..io/app", 4, "a part of a host begins and ends"),
        (f"ghcr.io/{'a' * 256}", 8, "a path has 255 characters at most"),
        ("a" * 1025, 0, "expected at most 1024 characters"),
    ],
)
def test_what_can_match_nothing_is_refused_with_what_to_write(
    pattern: str, offset: int, said: str
) -> None:
    """A rule that can match no legal name protects nothing, and looks as if it did."""
    with pytest.raises(InvalidPattern, match=re.escape(said)) as refused:
        parse_pattern(pattern)
    assert refused.value.offset == offset


GLOBS = st.text(alphabet="ab/*", min_size=1, max_size=8)


@given(GLOBS, st.sampled_from(["a", "b", "ab", "a/b", "b/a/b", "ab/ba", "a/a/b/b"]))
def test_matching_agrees_with_a_slow_oracle(glob: str, name: str) -> None:
    """The fast matcher and a regular expression that says the same never disagree."""
    scope = Scope(f"reg.example/{glob}", below=True)
    fast = Pattern("", (scope,)).matches_name(Reference(f"reg.example/{name}", "v1"))
    slow = re.escape(scope.repository).replace(r"\*", ".*") + "(/.*)?"
    assert fast is (re.fullmatch(slow, f"reg.example/{name}") is not None)


@given(st.text(alphabet="aA1.:/*@[]-_", max_size=14))
@example("[::]")  # a host alone, which is a pattern and no name
def test_any_text_is_a_pattern_or_is_refused_where_it_is_wrong(text: str) -> None:
    """No text fails otherwise, what is offered instead is taken, and names match themselves."""
    try:
        pattern, fault = parse_pattern(text), None
    except InvalidPattern as refused:
        pattern, fault = None, refused
    if fault is not None:
        assert 0 <= fault.offset <= len(text)
        _, write, better = str(fault).rpartition("; write ")
        if write and " " not in better:
            parse_pattern(better)
    if pattern is not None and "*" not in text:
        with contextlib.suppress(InvalidReference):
            name = parse_reference(text)
            _, _, path = name.repository.partition("/")
            legal = name.repository == name.repository.lower() and "[" not in path
            if legal:
                assert pattern.matches_name(name)


@pytest.mark.parametrize(
    ("pattern", "narrow"),
    [
        ("ghcr.io/org/app", True),
        ("ghcr.io/org/*", True),
        ("ghcr.io/org/*:v1", True),
        ("ghcr.io/*/ci", True),
        ("docker.io/library/nginx", True),
        ("localhost:5000/ci/**", True),
        ("[fd00::1]:5000/ci", True),
        ("sha256:deadbeefcafe", True),
        ("*", False),
        ("**/**", False),
        ("*/ci", False),
        ("*.example.com/ci/*", False),
        ("ghcr.io", False),
        ("ghcr.io/*", False),
        ("ghcr.io/ci-*", False),
        ("docker.io/**", False),
        ("nginx", False),
        ("ci/*", False),
        ("registry.local:5000", False),
        ("deadbeefcafe", False),
        (f"*@{DIGEST}", False),
    ],
)
def test_what_names_a_host_and_a_part_of_a_path(pattern: str, narrow: bool) -> None:
    """Only what does may make images go earlier."""
    assert parse_pattern(pattern).is_narrow is narrow
