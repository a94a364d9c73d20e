"""Image names as container runtimes read them: checked, and for CRI-O cut."""

from __future__ import annotations

import re

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::\d+)?"
_NAME = re.compile(
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?",
    re.ASCII,
)


def is_well_formed(text: str) -> bool:
    """Whether a text can be an image's name (github.com/distribution/reference, regexp.go)."""
    return _NAME.fullmatch(text) is not None


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
    """The name under which CRI-O lists an image that lost this name and all others: cut at the
    first ':', so that little is left of a registry with a port (cri-o,
    internal/storage/image.go)."""
    return f"{name.partition(':')[0]}@sha256:{manifest}"
