"""Looking images up by what they are called: by a listed name, or by the text a container's creator
asked for, which may be a name, an id or the beginning of an id (docs/runtimes.md)."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Mapping

from .inventory import Container, Image, image_key, is_full_id
from .reference import InvalidReference, parse_reference

_ID_PREFIX = re.compile(r"[0-9a-f]{3,63}")  # so short a text finds an image on both runtimes


@functools.lru_cache(maxsize=16384)
def name_key(name: str) -> str:
    """The form of a name to look up by; with a digest the tag says nothing more."""
    try:
        reference = parse_reference(name)
    except InvalidReference:
        return name
    if reference.digest:
        return f"{reference.repository}@{reference.digest}"
    return f"{reference.repository}:{reference.tag or 'latest'}"


@functools.lru_cache(maxsize=16384)
def meanings(text: str) -> tuple[str, ...]:
    """What a creator's text may have meant: an id, a name, the beginning of an id."""
    if is_full_id(text):
        return (image_key(text),)
    prefix = image_key(text)
    return (name_key(text), prefix) if _ID_PREFIX.fullmatch(prefix) else (name_key(text),)


def is_id_prefix(text: str) -> bool:
    """Whether a text may be the beginning of an image id (without `sha256:`)."""
    return _ID_PREFIX.fullmatch(text) is not None


@functools.lru_cache(maxsize=8192)
def short_name(text: str) -> str | None:
    """A name that was written without a host, to look up under any (CRI-O's search registries);
    None: it has one, or is no name."""
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return None
    given = text.partition("@")[0]
    host, _, path = reference.repository.partition("/")
    if host != "docker.io" or given.startswith(("docker.io/", "index.docker.io/")):
        return None
    plain = path if "/" in given else path.removeprefix("library/")
    return name_key(text).replace(reference.repository, plain, 1)


_NOBODY: frozenset[str] = frozenset()


@functools.lru_cache(maxsize=16384)
def _keys_of(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(name_key, names))


class Asked:
    """Which containers asked for an image by which text; a container costs O(1)."""

    def __init__(self) -> None:
        self._containers: dict[str, set[str]] = {}  # name key, image key or prefix -> ids
        self._prefixes: set[str] = set()

    def note(self, container: Container) -> None:
        """Remembers what a container's creator asked for."""
        for text in meanings(container.image):
            found = self._containers.get(text)
            if found is not None:
                found.add(container.id)
                continue
            self._containers[text] = {container.id}
            if _ID_PREFIX.fullmatch(text):
                self._prefixes.add(text)

    def forget(self, container: Container | None) -> None:
        """The container is gone, or turned out to have asked for something else."""
        if container is None:
            return
        for text in meanings(container.image):
            containers = self._containers[text]
            containers.discard(container.id)
            if not containers:
                del self._containers[text]
                self._prefixes.discard(text)

    def keys(self, named: Mapping[str, Iterable[str]], images: Collection[str]) -> set[str]:
        """Keys of all images that somebody asked for, those that `by` finds somebody for; `named`
        are the keys of images by `name_key`."""
        found = {text for text in self._containers if text in images}
        for text in self._containers:
            found.update(named.get(text, ()))
        for prefix in self._prefixes:
            found.update(key for key in images if key.startswith(prefix))
        return found

    def by(self, image: Image) -> frozenset[str]:
        """Ids of the containers that asked for something which means this image now."""
        containers, texts = self._containers, _keys_of(image.names)
        nobody = image.key not in containers and containers.keys().isdisjoint(texts)
        if nobody and not self._prefixes:
            return _NOBODY
        found: set[str] = set()
        for text in (image.key, *texts):
            found |= containers.get(text, _NOBODY)
        for prefix in self._prefixes:
            if image.key.startswith(prefix):
                found |= self._containers[prefix]
        return frozenset(found)
