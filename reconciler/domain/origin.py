"""Where an image came from, judging by its digest names: by which of them it can be pulled.

A digest name should mean that a registry has the image. Some are known not to:

    import-2026-11-28@sha256:..    `ctr images import --digests` (containerd, cmd/ctr)
    overlayfs@sha256:..            `nerdctl load` (nerdctl, pkg/imgutil/load): the snapshotter
    localhost/built@sha256:..      built by podman or buildah; a registry on localhost has a port
    <none>@<none>                  no name at all (older runtimes, cri-dockerd)

CRI-O makes up digest names for each list, one for each repository of a tag, however the image was
made, and when the tags are gone one from its first name, cut at the first `:`. If the registry has
a port, only the host is left, which names nothing (docs/runtimes.md).
"""

from __future__ import annotations

import functools
import re

from .inventory import Image
from .reference import InvalidReference, parse_reference

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(
    rf"(?:[\w.-]+|\[[0-9a-fA-F:]+\])(?::\d+)?(?:/{_PART})+", re.ASCII
)  # github.com/distribution/reference, regexp.go
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_MADE_ON_IMPORT = re.compile(
    r"docker\.io/library/(?:import-\d{4}-\d{2}-\d{2}"
    r"|overlayfs|native|btrfs|zfs|devmapper|fuse-overlayfs|stargz|nydus|overlaybd|soci)"
)


@functools.lru_cache(maxsize=16384)
def is_pullable(name: str) -> bool:
    """Whether a registry may have what a digest name means; False: by the name alone, none has."""
    try:
        reference = parse_reference(name)
    except InvalidReference:
        return False
    repository = reference.repository
    if not _REPOSITORY.fullmatch(repository) or not _DIGEST.fullmatch(reference.digest or ""):
        return False
    made_here = repository.startswith("localhost/") or _MADE_ON_IMPORT.fullmatch(repository)
    return not made_here


@functools.lru_cache(maxsize=8192)
def can_be_pulled(digests: tuple[str, ...], remembered: tuple[str, ...]) -> bool:
    """Whether an image can be pulled again by any digest name that it is listed under, or by its
    earlier names (`remembered`, from the ledger) where CRI-O has cut them."""
    cut = _cut_names(digests, remembered)
    if any(is_pullable(name) for name in digests if name not in cut):
        return True
    before = names_before(digests, remembered) if cut else ()
    return any(map(is_pullable, before or cut))


@functools.lru_cache(maxsize=8192)
def names_before(listed: tuple[str, ...], remembered: tuple[str, ...]) -> tuple[str, ...]:
    """Returns digest names in the repositories that an image was listed under before and is not
    now; `remembered`: its names in the ledger."""
    now = set(map(_repository, listed))
    before = dict.fromkeys(map(_repository, remembered))
    digests = dict.fromkeys(name.partition("@")[2] for name in listed)
    return tuple(
        f"{repository}@{digest}"
        for repository in before
        if repository is not None and repository not in now
        for digest in digests
        if _DIGEST.fullmatch(digest)
    )


def names_to_pull(image: Image, remembered: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names by which an image can be pulled again: without names that mean nothing, and
    with its earlier names where CRI-O has cut them."""
    cut = _cut_names(image.digests, remembered)
    whole = (name for name in image.digests if is_pullable(name) and name not in cut)
    return (*image.tags, *whole, *(names_before(image.names, remembered) if cut else ()))


def _cut_names(digests: tuple[str, ...], remembered: tuple[str, ...]) -> tuple[str, ...]:
    """Digest names that CRI-O has cut at the port of their registry."""
    return tuple(name for name in digests if _is_cut(name, remembered))


def _is_cut(name: str, remembered: tuple[str, ...]) -> bool:
    host, at, _ = name.partition("@")
    if not at or "/" in host:
        return False
    if host == "localhost" or "." in host or host.startswith("["):
        return True
    return any(one.startswith(f"{host}:") and "/" in one for one in remembered)


@functools.lru_cache(maxsize=16384)
def _repository(name: str) -> str | None:
    """A name's complete repository; None: it is not a name, or a host alone."""
    if _is_cut(name, ()):
        return None
    try:
        return parse_reference(name).repository
    except InvalidReference:
        return None
