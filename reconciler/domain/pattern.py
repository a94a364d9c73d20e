"""The patterns of rules: which image names they match.

In a pattern `*` is any run of characters, also none and also across `/`; `**` is the same. A
pattern that begins with `*`, or has one before its first `/`, stands for the whole name, host
included; any other is completed as a name is (reference.py). Without a tag it means every tag and
digest of the repository and of everything below it; a host alone means all that is below the host.
With a tag it means tags of that repository alone, and `:*` what is listed by digest as well. With a
digest it means that digest, and a tag next to it has no effect. `sha256:` and 12 to 64 hex digits
mean the beginning of an image's id or of a manifest's digest; 12 to 64 digits alone mean that too,
or a name.

- A text that can be read in two ways means both.
- A pattern that can match no legal name is refused (legal.py), with a suggestion if there is one.
- Patterns are anchored, and matching is linear in the length of the name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .globs import fits, follows, meet
from .inventory import Image
from .legal import (
    InvalidPattern,
    check_digest,
    check_host,
    check_id,
    check_path,
    check_tag,
    check_text,
    could_be_port,
)
from .reference import (
    InvalidReference,
    Reference,
    canonical_host,
    is_host,
    parse_reference,
    split_tag,
)

_ID = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True, slots=True)
class Scope:
    """One way to read a pattern: which repositories, and which tag or digest of them. `below`: also
    every repository below."""

    repository: str  # complete, host first, with `*`
    below: bool = False
    tag: str | None = None  # None: any, or none
    digest: str | None = None  # None: any, or none
    # The parts between the stars; split once, since thousands of rules meet thousands of names.
    parts: tuple[str, ...] = field(init=False, repr=False, compare=False)
    parts_below: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.repository.split("*")))
        object.__setattr__(self, "parts_below", tuple(f"{self.repository}/*".split("*")))

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return self.repository + tag + (f"@{self.digest}" if self.digest is not None else "")

    def matches(self, name: Reference) -> bool:
        if self.digest is not None and name.digest != self.digest:
            return False
        if self.tag is not None and (name.tag is None or not fits(self.tag, name.tag)):
            return False
        if follows(self.parts, name.repository):
            return True
        return self.below and follows(self.parts_below, name.repository)

    @property
    def globs(self) -> tuple[str, ...]:
        """All repository globs that it means."""
        return (self.repository, *([f"{self.repository}/*"] if self.below else ()))


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern, ready to match. `text` is what the operator wrote."""

    text: str
    scopes: tuple[Scope, ...] = ()
    id_prefix: str | None = None  # hex digits

    def __str__(self) -> str:
        return self.text

    @property
    def is_narrow(self) -> bool:
        """Whether it names a host and a part of a path literally, or an id and nothing else: then
        it matches no more than its writer can have meant, whatever is on the node."""
        if not self.scopes:
            return True
        first, *path = split_tag(self.text.partition("@")[0])[0].split("/")
        return is_host(first) and "*" not in first and any("*" not in part for part in path)

    def matches_name(self, name: Reference) -> bool:
        """Whether it matches one parsed name."""
        digest = name.digest or ""
        if self.id_prefix is not None and digest.startswith(f"sha256:{self.id_prefix}"):
            return True
        return any(scope.matches(name) for scope in self.scopes)

    def matches_id(self, key: str) -> bool:
        """Whether it is a prefix of an image's id (given without `sha256:`)."""
        return self.id_prefix is not None and key.startswith(self.id_prefix)

    def match(self, image: Image) -> str | None:
        """Returns the name, or else the id, of an image that it matches. A listed name that is not
        valid is matched by nothing."""
        for name in image.names:
            try:
                if self.matches_name(parse_reference(name)):
                    return name
            except InvalidReference:
                continue
        return image.id if self.matches_id(image.key) else None


def parse_pattern(text: str) -> Pattern:
    """Parses a pattern. Raises InvalidPattern, with the place of the fault and, where it is known,
    what to write instead."""
    try:
        return _parsed(text)
    except InvalidPattern as fault:
        better = _better(text)
        if better is None:
            raise
        raise InvalidPattern(f"{fault}; write {better}", fault.offset) from None


def _parsed(text: str) -> Pattern:
    check_text(text)
    if text.startswith(("sha256:", "sha384:", "sha512:")):
        check_id(text)
        return Pattern(text, id_prefix=text.removeprefix("sha256:"))
    name, at, digest = text.partition("@")
    if at:
        check_digest(digest, len(name) + 1)
    path, tag = split_tag(name)
    if not path:
        raise InvalidPattern(f"expected a name before {text[:1]!r}, found nothing")
    if tag is not None:
        check_tag(tag, len(path) + 1)
    path = re.sub(r"\*+", "*", path)
    scopes = [_scope(one, tag, digest or None) for one in _repositories(path)]
    if not at:
        scopes += [Scope(host, below=True) for host in _hosts(path, tag)]
    if not scopes:
        raise InvalidPattern(f"a host has no tag or digest: expected a path after {path}")
    return Pattern(text, tuple(scopes), text if _ID.fullmatch(text) else None)


def _scope(repository: str, tag: str | None, digest: str | None) -> Scope:
    if digest is not None:
        return Scope(repository, digest=digest)
    named = tag is not None and tag.strip("*") != ""
    return Scope(repository, below=tag is None, tag=tag if named else None)


def _repositories(path: str) -> list[str]:
    """Returns the completed repositories that the part before the tag can mean."""
    first, *segments = path.split("/")
    if not segments:
        return _alone(first)
    if not is_host(first) and "*" not in first:
        check_path(path, 0)
        return [f"docker.io/{path}"]
    below = "/".join(segments)
    known = canonical_host(first) if is_host(first) else first
    check_host(*_split_port(known))
    check_path(below, len(first) + 1)
    if known != "docker.io" or len(segments) > 1:
        return [f"{known}/{below}"]
    return [f"docker.io/library/{below}", *([f"docker.io/{below}"] if "*" in below else [])]


def _alone(part: str) -> list[str]:
    """A pattern of one part, read as a name; it may also be a host."""
    if part.startswith("["):
        return []
    check_path(part.lower() if is_host(part) else part, 0)
    return [part if part.startswith("*") else f"docker.io/library/{part.lower()}"]


def _hosts(path: str, tag: str | None) -> list[str]:
    """A pattern of one part, read as a host with its port."""
    if "/" in path or (tag is not None and not re.fullmatch("[0-9*]+", tag)):
        return []
    if path.startswith("*"):
        return [f"{path}:{tag}"] if tag not in (None, "*") and could_be_port(tag) else []
    if not is_host(path.partition("*")[0]):
        return []
    if tag is not None and path.lower() != "localhost" and re.fullmatch("0|[0-9]{6,}", tag):
        return []  # a date or the like, not a mistaken port
    host = canonical_host(path) if tag is None else f"{path.lower()}:{tag}"
    check_host(*_split_port(host))
    return [host]


def _split_port(host: str) -> tuple[str, str | None]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and "]" not in port else (host, None)


def _better(text: str) -> str | None:
    """Returns what the writer of a refused pattern may have meant; None: unknown."""
    better = re.sub(r"^[a-z-]+://", "", text.strip())
    if re.search(r"[\^$\\]|(^|[/:])\.[*+]", better):
        better = re.sub(r"\.[*+]", "*", better.replace("\\", "").strip("^$"))
    better = re.sub("//+", "/", better).strip("/")
    if better.startswith("@"):
        better = better[1:]
    elif better.startswith(":"):
        better = f"*{better}"
    name, at, digest = better.partition("@")
    path, tag = split_tag(name)
    tag = tag if tag is None or path.lower() != "sha256" else tag.lower()
    better = path.lower() + ("" if tag is None else f":{tag}") + at + digest.lower()
    try:
        return _parsed(better).text if better != text else None
    except InvalidPattern:
        return None


def could_both_match(one: Pattern, other: Pattern) -> bool:
    """Whether some name could match both patterns. Ids overlap only if one begins with the other:
    the patterns do not show which names an id has."""
    first, second = one.id_prefix, other.id_prefix
    if first and second and (first.startswith(second) or second.startswith(first)):
        return True
    return any(_overlap(a, b) for a in one.scopes for b in other.scopes)


def _overlap(one: Scope, other: Scope) -> bool:
    if one.digest is not None and other.digest is not None and one.digest != other.digest:
        return False
    by_tag = one.digest is None and other.digest is None
    if by_tag and one.tag is not None and other.tag is not None and not meet(one.tag, other.tag):
        return False
    return any(meet(a, b) for a in one.globs for b in other.globs)
