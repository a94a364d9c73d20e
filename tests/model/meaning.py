"""What a text in a pod's spec means, among the images of a listing, as a runtime would take it.

As simple as can be, and without any of the product's code."""

from __future__ import annotations

import re

from .records import ListedImage


def means(text: str, key: str, listed: ListedImage, anywhere: bool) -> bool:
    """Whether a spec's text means an image now: by its id, or by a name it is listed under.
    `anywhere`: a name without a host may mean one of any host."""
    plain = text.removeprefix("sha256:")
    if re.fullmatch("[0-9a-f]{64}", plain):
        return plain == key
    if whole(text) in map(whole, listed.names):
        return True
    if not anywhere or _has_host(text):
        return False
    ending = "/" + _without_tag_of_digest(_tagged(text))
    return any(_without_tag_of_digest(name).endswith(ending) for name in listed.names)


def whole(text: str) -> str:
    """A name as Docker completes it: host, `library/`, `latest`; with a digest no tag."""
    name, _, digest = text.partition("@")
    if not _has_host(name):
        name = f"docker.io/{name}"
    host, _, path = name.partition("/")
    if host == "index.docker.io":
        host = "docker.io"
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    if digest:
        return f"{host}/{_untagged(path)}@{digest}"
    return _tagged(f"{host}/{path}")


def _has_host(text: str) -> bool:
    head, slash, _ = text.partition("/")
    return bool(slash) and (head == "localhost" or "." in head or ":" in head)


def _tagged(text: str) -> str:
    return text if "@" in text or ":" in text.rpartition("/")[2] else f"{text}:latest"


def _untagged(path: str) -> str:
    head, slash, tail = path.rpartition("/")
    return head + slash + tail.partition(":")[0]


def _without_tag_of_digest(text: str) -> str:
    name, at, digest = text.partition("@")
    return f"{_untagged(name)}@{digest}" if at else name
