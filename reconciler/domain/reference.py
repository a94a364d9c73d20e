"""Names of images, parsed and normalised, so that one image has one name however it is written.

    [host[:port]/]path[:tag][@digest]

- The first part is a host if another follows and it is `localhost` or has a `.` or `:`; else
  `docker.io/` is put before it, and `library/` too where there is only one part.
- Hosts are case-insensitive, and Docker Hub has several: here it has one.
- A name without a tag has none: what that means is the asker's to say (`names.name_key`).
- What can be no name raises InvalidReference, and means nothing anywhere.

The patterns of rules are completed in the same way (pattern.py).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}")
_FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f]")
_DOCKER_HUB = frozenset(
    ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
)


class InvalidReference(ValueError):
    """A text that can be no image's name."""


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
    path, tag = split_tag(name)
    segments = path.split("/")
    if not all(segments) or tag == "":
        raise InvalidReference(f"not an image name: {text!r}")
    return Reference("/".join(_with_host(segments)), tag, digest or None)


def split_tag(name: str) -> tuple[str, str | None]:
    """The repository, and the tag if there is one: a port is none."""
    path, colon, tag = name.rpartition(":")
    return (path, tag) if colon and "/" not in tag and "]" not in tag else (name, None)


def _with_host(segments: list[str]) -> list[str]:
    first, *rest = segments
    if not rest or not is_host(first):
        first, rest = "docker.io", segments
    host = own_host(first)
    if host == "docker.io" and len(rest) == 1:
        rest = ["library", *rest]
    return [host, *rest]


def names_host(text: str) -> bool:
    """Whether a name was written with its host."""
    return "/" in text and is_host(text.partition("/")[0])


def is_host(part: str) -> bool:
    """Whether the first of several parts is a host."""
    return part.lower() == "localhost" or "." in part or ":" in part or part.startswith("[")


def own_host(part: str) -> str:
    """A host by the one name it is known by here."""
    host = part.lower()
    return "docker.io" if host in _DOCKER_HUB else host
