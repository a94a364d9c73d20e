"""Reject patterns that no image name can match, which would silently match nothing.

The grammar is that of distribution/reference (`regexp.go`, `normalize.go`), by which containerd and
CRI-O parse names. Each check knows where in the operator's text its part begins.
"""

from __future__ import annotations

import ipaddress
import re

LONGEST = 1024  # characters of a pattern; a name with tag and digest has less than half of that
LONGEST_PATH = 255
LONGEST_TAG = 128
LAST_PORT = 65535

_ADDRESS = re.compile(r"\[[0-9a-fA-F:.*]*\](?=[:/]|$)")  # an IPv6 host at the beginning
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]")
_EXPRESSION = re.compile(r"[\^$\\+|()]")
_NO_WILDCARD = re.compile(r"[?\[\]{}]")
_IN_PATH = re.compile(r"[^a-z0-9._/*-]")
_IN_HOST = re.compile(r"[^a-z0-9.*-]")
_IN_TAG = re.compile(r"[^A-Za-z0-9_.*-]")
_EDGE_OF_A_PART = re.compile(r"(?:^|(?<=/))[._-]|[._-](?=/|$)")
_EDGE_IN_A_HOST = re.compile(r"(?:^|(?<=\.))[.-]|[.-](?=\.|$)")
_SEPARATORS = re.compile(r"\.[._-]|_[.-]|-[._]|___")
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-f]{32,}")
_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}  # of a digest, by its algorithm
_FEWEST = 12  # digits of an id or digest that stand for it


class InvalidPattern(ValueError):
    """A text that cannot be a pattern; `offset` is the position of the fault in it, from 0."""

    def __init__(self, text: str, offset: int = 0) -> None:
        super().__init__(text)
        self.offset = offset


def check_text(text: str) -> None:
    """Checks the text as a whole. Raises InvalidPattern, as all checks here do."""
    if not text:
        raise InvalidPattern("expected an image pattern, found an empty text")
    if len(text) > LONGEST:
        raise InvalidPattern(f"expected at most {LONGEST} characters, found {len(text)}")
    if "://" in text:
        raise InvalidPattern(f"an image's name has no scheme, found {text.partition('/')[0]}//")
    if text.startswith("!"):
        raise InvalidPattern("there is no negation: a rule means what one of its patterns matches")
    if bad := _SPACE.search(text):
        raise InvalidPattern(f"a name has no {bad[0]!r}", bad.start())
    if bad := _EXPRESSION.search(text):
        found = (
            f"{bad[0]!r} belongs to a regular expression: here '*' alone is any run of characters"
        )
        raise InvalidPattern(found, bad.start())
    address = _ADDRESS.match(text)
    if bad := _NO_WILDCARD.search(text, address.end() if address else 0):
        found = f"{bad[0]!r} is no wildcard here: '*' is any run of characters"
        raise InvalidPattern(f"{found}; for this or that write two patterns", bad.start())


def check_id(text: str) -> None:
    """Checks `sha256:` and the beginning of an id or digest."""
    algorithm, _, digits = text.partition(":")
    if algorithm != "sha256":
        expected = f"expected *@{algorithm}: and {_DIGITS[algorithm]} digits"
        raise InvalidPattern(f"{expected}: only sha256 is taken alone, being that of ids")
    if not re.fullmatch(r"[0-9a-f]{12,64}", digits):
        expected = f"expected sha256: and {_FEWEST} to 64 hex digits (0-9a-f)"
        raise InvalidPattern(f"{expected}, found {text!r}", len("sha256:"))


def check_digest(digest: str, at: int) -> None:
    """Checks what follows the `@`."""
    if "*" in digest:
        alone = "a repository without tag and digest means all its digests"
        raise InvalidPattern(f"a digest has no wildcard: {alone}", at)
    algorithm, _, digits = digest.partition(":")
    if not _DIGEST.fullmatch(digest) or len(digits) != _DIGITS.get(algorithm, len(digits)):
        few = f"a prefix is written alone, sha256: and {_FEWEST} digits or more"
        expected = "expected a digest after @ (sha256: and 64 hex digits, 0-9a-f)"
        raise InvalidPattern(f"{expected}, found {digest!r}; {few}", at)


def check_tag(tag: str, at: int) -> None:
    """Checks what follows the `:`."""
    if not tag:
        raise InvalidPattern("expected a tag after ':', found nothing", at - 1)
    if bad := _IN_TAG.search(tag):
        raise InvalidPattern(f"a tag has no {bad[0]!r}", at + bad.start())
    if tag[0] in ".-":
        raise InvalidPattern(f"a tag does not begin with {tag[0]!r}{_regex(tag)}", at)
    if len(tag.replace("*", "")) > LONGEST_TAG:
        raise InvalidPattern(f"a tag has {LONGEST_TAG} characters at most, found {len(tag)}", at)


def check_path(path: str, at: int) -> None:
    """Checks the repository without its host, or all of a pattern that begins with `*`."""
    if bad := _IN_PATH.search(path):
        raise InvalidPattern(_no_path(bad[0]), at + bad.start())
    if "" in (parts := path.split("/")):
        slash = at + len("/".join(parts[: parts.index("")])) - (at > 0 and not parts[0])
        raise InvalidPattern("expected a name, found an empty part of a path", slash)
    if bad := _EDGE_OF_A_PART.search(path):
        found = f"a part of a path begins and ends with a letter or digit, not with {bad[0]!r}"
        raise InvalidPattern(found + _regex(path[bad.start() :]), at + bad.start())
    if bad := _SEPARATORS.search(path):
        found = f"no name has {bad[0]!r}: between letters and digits are one '.', one or two '_'"
        raise InvalidPattern(f"{found}, or any number of '-'", at + bad.start())
    if len(path.replace("*", "")) > LONGEST_PATH:
        raise InvalidPattern(f"a path has {LONGEST_PATH} characters at most", at)


def _no_path(bad: str) -> str:
    if bad == ":":
        return "a ':' stands before the tag, at the end, or before the port of a host"
    if bad.isupper():
        return f"a path has no upper case, found {bad!r}"
    return f"a path has no {bad!r}"


def check_host(host: str, port: str | None) -> None:
    """Checks a host, the first part, in lower case."""
    if host.startswith("["):
        _check_address(host)
    elif bad := re.search("[^a-z0-9._*-]" if "*" in host else _IN_HOST, host):
        brackets = "; an IPv6 address stands in brackets" if bad[0] == ":" else ""
        what = "a path" if bad[0].isupper() else "a host"  # the case of a host does not matter
        raise InvalidPattern(f"{what} has no {bad[0]!r}{brackets}", bad.start())
    elif bad := _EDGE_IN_A_HOST.search(host):
        found = f"a part of a host begins and ends with a letter or digit, not with {bad[0]!r}"
        raise InvalidPattern(found + _regex(host[bad.start() :]), bad.start())
    if port is not None and not could_be_port(port):
        raise InvalidPattern(
            f"expected a port from 1 to {LAST_PORT}, found {port!r}; a tag stands at the end",
            len(host) + 1,
        )


def could_be_port(text: str) -> bool:
    """Whether a text is a port number, or can be one for some value of its `*`."""
    if "*" in text:
        return re.fullmatch(r"[0-9*]+", text) is not None and len(text.replace("*", "")) <= 5
    return re.fullmatch(r"[0-9]{1,6}", text) is not None and 0 < int(text) <= LAST_PORT


def _check_address(host: str) -> None:
    if "*" in host:
        return
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        raise InvalidPattern(f"expected an IPv6 address in brackets, found {host}") from None


def _regex(tail: str) -> str:
    known = tail.startswith((".*", ".+"))
    return ": '.*' belongs to a regular expression, here '*' alone is any run" if known else ""
