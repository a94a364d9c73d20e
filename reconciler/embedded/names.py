"""Image names as container runtimes read them: checked, completed, and in CRI-O's case cut."""

from __future__ import annotations

import functools
import re

from ..domain.reference import InvalidReference, parse_reference

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::\d+)?"
_NAME = re.compile(
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?",
    re.ASCII,
)


def is_well_formed(text: str) -> bool:
    """Whether a text can be an image's name (github.com/distribution/reference, regexp.go)."""
    return _NAME.fullmatch(text) is not None


@functools.lru_cache(maxsize=4096)
def full_name(name: str) -> str:
    """As Docker completes a name: docker.io, library, latest. With a digest the tag says nothing
    more. A text that is no name stays as it is."""
    try:
        reference = parse_reference(name)
    except InvalidReference:
        return name
    if reference.digest:
        return f"{reference.repository}@{reference.digest}"
    return f"{reference.repository}:{reference.tag or 'latest'}"


def repository(name: str) -> str:
    """A name without its tag or digest."""
    path = name.partition("@")[0]
    head, colon, tail = path.rpartition(":")
    return head if colon and "/" not in tail else path


def has_host(name: str) -> bool:
    """Whether a name begins with a registry: CRI-O looks others up as short names."""
    host, slash, _ = name.partition("/")
    return slash == "/" and (host == "localhost" or "." in host or ":" in host)


def digest_name(name: str, manifest: str) -> str:
    """The name by digest in the repository of another name."""
    return f"{repository(name)}@sha256:{manifest}"


def made_up_name(name: str, manifest: str) -> str:
    """What CRI-O lists an image under that has lost this name and all others: cut at the first ':',
    so that of a registry with a port little is left (cri-o, internal/storage/image.go)."""
    return f"{name.partition(':')[0]}@sha256:{manifest}"
