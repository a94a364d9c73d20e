"""Names of images, parsed and normalised, so that one image has one name however it is written.

    [host[:port]/]path[:tag][@digest]

- The first part is a host if another follows and it is `localhost` or has a `.` or `:`; else
  `docker.io/` is put before it, and `library/` too where there is only one part.
- Hosts are case-insensitive, and Docker Hub has several: here it has one.
- A name without a tag has none: the caller decides what that means (`names.name_key`).
- A text that cannot be a name raises InvalidReference; it means only itself.

Patterns of rules are completed in the same way (pattern.py).
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
    """A text that cannot be the name of an image."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A name; `repository` is complete, host first."""

    repository: str
    tag: str | None = None
    digest: str | None = None


@functools.lru_cache(maxsize=16384)
def parse_reference(text: str) -> Reference:
    """Parses and normalises a name. Raises InvalidReference."""
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
    """Returns the repository, and the tag if there is one; a port is not a tag."""
    path, colon, tag = name.rpartition(":")
    return (path, tag) if colon and "/" not in tag and "]" not in tag else (name, None)


def _with_host(segments: list[str]) -> list[str]:
    first, *path = segments
    if not path or not is_host(first):
        first, path = "docker.io", segments
    host = canonical_host(first)
    if host == "docker.io" and len(path) == 1:
        path = ["library", *path]
    return [host, *path]


def names_host(text: str) -> bool:
    """Whether a name was written with its host."""
    return "/" in text and is_host(text.partition("/")[0])


def is_host(part: str) -> bool:
    """Whether the first of several parts is a host."""
    return part.lower() == "localhost" or "." in part or ":" in part or part.startswith("[")


def canonical_host(part: str) -> str:
    """Returns a host under the one name used for it here."""
    host = part.lower()
    return "docker.io" if host in _DOCKER_HUB else host
