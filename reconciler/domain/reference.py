"""Names of images, and the patterns of exclusions, parsed and normalised alike on both sides.

    [host[:port]/]path[:tag][@digest]

The first segment is a host if another follows and it is `localhost`, `**`, or has a `.` or `:`;
else `docker.io/` is put before it, and `library/` too where there is only one segment.

In a pattern `*` is any run of characters, also none, inside one segment or the tag; a segment `**`
is one or more segments. Without a tag a pattern means every tag and every digest-only name of the
repository; with a tag, tags only. With a digest it means that digest, and a tag beside it says
nothing more. `sha256:` and 12 to 64 hex digits mean a prefix of the image's id or of a manifest's
digest. Patterns are anchored and case-sensitive. Matching is linear in the length of the name.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from .inventory import Image

_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}")
_ID_PATTERN = re.compile(r"sha256:([0-9a-f]{12,64})")
_FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f]")
_NO_WILDCARD_OF_OURS = re.compile(r"[?\[\](){}|^$+\\]")


LONGEST = 1024  # characters of a pattern; a name with tag and digest has not half of that
MOST_PARTS = 8  # times `**` in a pattern


class InvalidReference(ValueError):
    """A text that can be no image's name."""


class InvalidPattern(ValueError):
    """A text that can be no pattern; `offset` is where in it the fault is, from 0."""

    def __init__(self, text: str, offset: int = 0) -> None:
        super().__init__(text)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Reference:
    """A name: `repository` is whole, host first."""

    repository: str
    tag: str | None = None
    digest: str | None = None


@functools.lru_cache(maxsize=16384)
def parse_reference(text: str) -> Reference:
    """Raises InvalidReference."""
    if not text or _FORBIDDEN.search(text):
        raise InvalidReference(f"not an image name: {text!r}")
    name, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidReference(f"not a digest after @: {text!r}")
    path, tag = _split_tag(name)
    segments = path.split("/")
    if not all(segments) or tag == "":
        raise InvalidReference(f"not an image name: {text!r}")
    return Reference("/".join(_with_host(segments)), tag, digest or None)


def _split_tag(name: str) -> tuple[str, str | None]:
    path, colon, tag = name.rpartition(":")
    return (path, tag) if colon and "/" not in tag else (name, None)


def _with_host(segments: list[str]) -> list[str]:
    first = segments[0]
    if len(segments) > 1 and (first in ("localhost", "**") or "." in first or ":" in first):
        host = "docker.io" if first == "index.docker.io" else first
        rest = segments[1:]
    else:
        host, rest = "docker.io", segments
    if host == "docker.io" and len(rest) == 1 and rest != ["**"]:
        rest = ["library", *rest]
    return [host, *rest]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern, ready to match. `text` is what the operator wrote."""

    text: str
    segments: tuple[str, ...] = ()  # of the repository; none for an id pattern
    tag: str | None = None
    digest: str | None = None
    id_prefix: str | None = None  # hex digits

    def __str__(self) -> str:
        return self.text

    @property
    def repository(self) -> str | None:
        """The one repository it can match; None: several, or ids."""
        whole = "/".join(self.segments)
        return whole if whole and "*" not in whole else None

    def matches_name(self, name: Reference) -> bool:
        """Whether it matches one parsed name."""
        if self.id_prefix is not None:
            digest = name.digest or ""
            return digest.removeprefix("sha256:").startswith(self.id_prefix) and bool(digest)
        if self.digest is not None:
            if name.digest != self.digest:
                return False
        elif self.tag is not None and (name.tag is None or not _glob(self.tag, name.tag)):
            return False
        return _segments_match(self.segments, tuple(name.repository.split("/")))

    def matches_id(self, key: str) -> bool:
        """Whether it is a prefix of an image's id (given without `sha256:`)."""
        return self.id_prefix is not None and key.startswith(self.id_prefix)

    def match(self, image: Image) -> str | None:
        """The name, or else the id, of an image that it matches. A listed name that is no name
        is matched by nothing."""
        for name in image.names:
            try:
                if self.matches_name(parse_reference(name)):
                    return name
            except InvalidReference:
                continue
        return image.id if self.matches_id(image.key) else None


def parse_pattern(text: str) -> Pattern:
    """Raises InvalidPattern, with the place of the fault."""
    if text.startswith("sha256:"):
        return _id_pattern(text)
    _check_characters(text)
    name, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidPattern(
            f"expected a digest after @ (sha256: and 64 hex digits), found {digest!r}",
            len(name) + 1,
        )
    path, tag = _split_tag(name)
    if tag == "":
        raise InvalidPattern("expected a tag after ':', found nothing", len(name))
    segments = path.split("/")
    if "" in segments:
        offset = len("/".join(segments[: segments.index("")]))
        raise InvalidPattern("expected a name, found an empty part of a path", offset)
    if segments == ["**"]:
        raise InvalidPattern("'**' alone names no repository; for every image write '**/**'")
    for number, segment in enumerate(segments):
        if "**" in segment and segment != "**":
            offset = len("/".join(segments[:number])) + (1 if number else 0)
            raise InvalidPattern("'**' stands for whole parts of a path: write a/**/b", offset)
    if segments.count("**") > MOST_PARTS:
        raise InvalidPattern(f"expected '**' at most {MOST_PARTS} times")
    return Pattern(text, tuple(_with_host(segments)), tag, digest or None)


def _id_pattern(text: str) -> Pattern:
    found = _ID_PATTERN.fullmatch(text)
    if found is None:
        text = f"expected sha256: and 12 to 64 hex digits (0-9a-f), found {text!r}"
        raise InvalidPattern(text, len("sha256:"))
    return Pattern(text, id_prefix=found[1])


def _check_characters(text: str) -> None:
    if not text:
        raise InvalidPattern("expected an image pattern, found an empty text")
    if len(text) > LONGEST:
        raise InvalidPattern(f"expected at most {LONGEST} characters, found {len(text)}")
    odd = _FORBIDDEN.search(text)
    if odd:
        raise InvalidPattern(f"a name has no {odd[0]!r}", odd.start())
    odd = _NO_WILDCARD_OF_OURS.search(text)
    if odd:
        raise InvalidPattern(
            f"{odd[0]!r} is no wildcard here: '*' is any run inside one part, '**' any parts",
            odd.start(),
        )


def _segments_match(pattern: tuple[str, ...], name: tuple[str, ...]) -> bool:
    """Star matching over segments: on a mismatch the latest `**` takes one segment more."""
    p = n = 0
    star, taken = -1, 0
    while n < len(name):
        if p < len(pattern) and pattern[p] == "**":
            star, taken = p, n + 1  # it takes at least this one
            p, n = p + 1, n + 1
        elif p < len(pattern) and _glob(pattern[p], name[n]):
            p, n = p + 1, n + 1
        elif star >= 0:
            taken += 1
            p, n = star + 1, taken
        else:
            return False
    return p == len(pattern)


def _glob(pattern: str, text: str) -> bool:
    """Whether a text is a pattern in which `*` is any run. Leftmost fits suffice, so no step is
    ever taken back and the cost is linear."""
    if "*" not in pattern:
        return pattern == text
    first, *middle, last = pattern.split("*")
    if len(text) < len(first) + len(last) or not text.startswith(first):
        return False
    if not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def could_both_match(one: Pattern, other: Pattern) -> bool:
    """Whether some name could match both patterns. An id pattern overlaps another one only where
    one begins the other: which names an id has can not be told from the patterns."""
    if one.id_prefix is not None or other.id_prefix is not None:
        first, second = one.id_prefix or "", other.id_prefix or ""
        return bool(first and second) and (first.startswith(second) or second.startswith(first))
    if one.digest is not None and other.digest is not None and one.digest != other.digest:
        return False
    tags = (one.tag, other.tag) if one.digest is None and other.digest is None else (None, None)
    if tags[0] is not None and tags[1] is not None and not _texts_meet(tags[0], tags[1]):
        return False
    return _segments_meet(one.segments, other.segments)


def _segments_meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether some list of segments fits both; `**` is one segment or more."""
    seen: set[tuple[int, int]] = set()
    ways = [(0, 0)]
    while ways:
        i, j = way = ways.pop()
        if way == (len(one), len(other)):
            return True
        if way in seen or i == len(one) or j == len(other):
            continue
        seen.add(way)
        if one[i] != "**" and other[j] != "**" and not _texts_meet(one[i], other[j]):
            continue
        ways.append((i + 1, j + 1))  # both take this segment; a `**` may then take more
        if one[i] == "**":
            ways.append((i, j + 1))
        if other[j] == "**":
            ways.append((i + 1, j))
    return False


def _texts_meet(one: str, other: str) -> bool:
    """Whether some text fits two patterns in which `*` is any run."""
    if "*" not in one:
        return _glob(other, one)
    if "*" not in other:
        return _glob(one, other)
    head, tail = one.partition("*")[0], one.rpartition("*")[2]
    start, end = other.partition("*")[0], other.rpartition("*")[2]
    heads = head.startswith(start) or start.startswith(head)
    # With a `*` in both, what stands between can always be given to the other's `*`.
    return heads and (tail.endswith(end) or end.endswith(tail))
