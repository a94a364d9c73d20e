"""Look images up by a listed name, or by the text that a container's creator asked for: a name, an
id or the beginning of an id (docs/runtimes.md)."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from .inventory import Container, Image, image_key, is_full_id
from .reference import InvalidReference, names_host, parse_reference

_ID_PREFIX = re.compile(r"[0-9a-f]{3,63}")  # both runtimes find an image by so short a text


@functools.lru_cache(maxsize=16384)
def name_key(name: str) -> str:
    """Returns the form of a name used for lookups; with a digest the tag has no effect."""
    try:
        reference = parse_reference(name)
    except InvalidReference:
        return name
    if reference.digest:
        return f"{reference.repository}@{reference.digest}"
    return f"{reference.repository}:{reference.tag or 'latest'}"


@functools.lru_cache(maxsize=16384)
def meanings(text: str) -> tuple[str, ...]:
    """Returns what a creator's text may have meant: an id, a name, the beginning of an id."""
    if is_full_id(text):
        return (image_key(text),)
    prefix = image_key(text)
    return (name_key(text), prefix) if _ID_PREFIX.fullmatch(prefix) else (name_key(text),)


@functools.lru_cache(maxsize=8192)
def short_name(text: str) -> str | None:
    """Returns a name that was written without a host, to look up under any (CRI-O's search
    registries); None: it has a host, or is not a name."""
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return None
    given = text.partition("@")[0]
    path = reference.repository.partition("/")[2]
    if names_host(given):
        return None
    plain = path if "/" in given else path.removeprefix("library/")
    return name_key(text).replace(reference.repository, plain, 1)


ANY_HOST = "*"


@functools.lru_cache(maxsize=8192)
def asked_for(text: str, image_ref: str) -> tuple[str, ...]:
    """Returns what a container's creator asked for, as the runtime took it. CRI-O looks a name
    without a host up in search registries and aliases; if the container's `image_ref` is in a
    repository of that name, it was found there, else it may be under any host. An `image_ref` of
    `sha256:` (containerd) means that no other host was searched."""
    short = None if is_full_id(text) else short_name(text)
    if short is None or image_ref.startswith("sha256:"):
        return meanings(text)
    path = short.partition("@")[0].partition(":")[0]
    found = _repository_of_ref(image_ref)
    if found is not None and found.endswith(f"/{path}"):
        return (found + short.removeprefix(path), *meanings(text)[1:])
    alias = () if found is None else (found + short.removeprefix(path),)
    return (*meanings(text), *alias, f"{ANY_HOST}/{short}")


def _repository_of_ref(image_ref: str) -> str | None:
    try:
        return parse_reference(image_ref).repository if "@" in image_ref else None
    except InvalidReference:
        return None


_NOBODY: frozenset[str] = frozenset()


@functools.lru_cache(maxsize=16384)
def _keys_of(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(name_key, names))


class Asked:
    """Which containers asked for an image by which text; adding a container costs O(1)."""

    def __init__(self) -> None:
        self._containers: dict[str, set[str]] = {}  # name key, image key or prefix -> ids
        self._prefixes: set[str] = set()
        self._anywhere: set[str] = set()  # names that any host may have

    def note(self, container: Container) -> None:
        """Records what a container's creator asked for."""
        for text in asked_for(container.image, container.image_ref):
            found = self._containers.get(text)
            if found is not None:
                found.add(container.id)
                continue
            self._containers[text] = {container.id}
            if _ID_PREFIX.fullmatch(text):
                self._prefixes.add(text)
            elif text.startswith(ANY_HOST):
                self._anywhere.add(text)

    def forget(self, container: Container | None) -> None:
        """Removes a container that is gone, or that asked for something else."""
        if container is None:
            return
        for text in asked_for(container.image, container.image_ref):
            containers = self._containers[text]
            containers.discard(container.id)
            if not containers:
                del self._containers[text]
                self._prefixes.discard(text)
                self._anywhere.discard(text)

    def keys(self, named: ListedNames, images: Collection[str]) -> set[str]:
        """Returns the keys of all images that a container asked for, that is for which `by` finds
        one; `named` are the listed images by name."""
        found = {text for text in self._containers if text in images}
        for text in self._containers:
            found.update(named.get(text, ()))
        for prefix in self._prefixes:
            found.update(key for key in images if key.startswith(prefix))
        for text in self._anywhere:
            found.update(named.under_any_host(text.removeprefix(f"{ANY_HOST}/")))
        return found

    def by(self, image: Image) -> frozenset[str]:
        """Returns the ids of the containers that asked for something that means this image now."""
        containers, texts = self._containers, _keys_of(image.names)
        nobody = image.key not in containers and containers.keys().isdisjoint(texts)
        if nobody and not self._prefixes and not self._anywhere:
            return _NOBODY
        found: set[str] = set()
        for text in (image.key, *texts):
            found |= containers.get(text, _NOBODY)
        for prefix in self._prefixes:
            if image.key.startswith(prefix):
                found |= self._containers[prefix]
        for name in self._anywhere:
            if any(text.endswith(name.removeprefix(ANY_HOST)) for text in texts):
                found |= self._containers[name]
        return frozenset(found)


class ListedNames:
    """The listed images by everything that they can be found by; an image costs O(names)."""

    def __init__(self) -> None:
        self._keys: dict[str, set[str]] = {}  # name key or "@digest" -> image keys
        self._endings: dict[str, set[str]] | None = None  # by a path's last part

    def put(self, image: Image) -> None:
        self._endings = None
        for text in _found_by(image):
            self._keys.setdefault(text, set()).add(image.key)

    def drop(self, image: Image) -> None:
        self._endings = None
        for text in _found_by(image):
            keys = self._keys.get(text, set())
            keys.discard(image.key)
            if not keys:
                self._keys.pop(text, None)

    def get(self, key: str, otherwise: Iterable[str] = ()) -> Iterable[str]:
        """Returns image keys by a `name_key`."""
        return self._keys.get(key, otherwise)

    def of_name(self, name: str) -> frozenset[str]:
        """Returns image keys by a name or digest name as it is written."""
        return frozenset(self._keys.get(name_key(name), ()))

    def of_digest(self, digest: str) -> frozenset[str]:
        """Returns image keys by a manifest's digest, whatever repository they are listed under."""
        return frozenset(self._keys.get(f"@{digest}", ()))

    def meant(self, text: str, images: Mapping[str, Image], *, anywhere: bool) -> frozenset[str]:
        """Returns the keys of the images that a name, digest name, id or the beginning of one may
        mean to the runtime now. `anywhere`: it looks a name without a host up under other hosts
        than docker.io."""
        found = set(self.of_digest(text.partition("@")[2]))
        for meaning in meanings(text):
            if meaning in images:
                found.add(meaning)
            elif _ID_PREFIX.fullmatch(meaning):
                found.update(key for key in images if key.startswith(meaning))
            else:
                found.update(self._keys.get(meaning, ()))
        short = short_name(text) if anywhere else None
        if short is not None:
            found.update(self.under_any_host(short))
        return frozenset(found)

    def under_any_host(self, short: str) -> Iterator[str]:
        """Yields image keys by a name without its host. Few runtimes need this, so its index is
        built on first use."""
        if self._endings is None:
            self._endings = {}
            for name in self._keys:
                self._endings.setdefault(name.rpartition("/")[2], set()).add(name)
        for name in self._endings.get(short.rpartition("/")[2], ()):
            if name.endswith(f"/{short}"):
                yield from self._keys[name]


def _found_by(image: Image) -> Iterator[str]:
    """Yields all that an image can be found by: its names, and its manifests' digests alone."""
    yield from map(name_key, image.names)
    yield from (f"@{name.partition('@')[2]}" for name in image.digests)
