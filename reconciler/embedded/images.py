"""The images of a simulated node: a registry to pull from, names that move, ids, layers, removal.
No I/O and no clock. What runtimes do differently is asked of `Habits`."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..domain.inventory import is_full_id
from ..domain.reference import InvalidReference, parse_reference
from .habits import Habits

PAUSE = "registry.k8s.io/pause:3.10"
SHORTEST_PREFIX = 3  # digits of an id that CRI-O takes for it; containerd takes even none


class Refused(Exception):
    """A call the runtime answers with an error; `code` is gRPC's name for it."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: bytes in the registry's form and on disk."""

    diff_id: str
    compressed: int
    unpacked: int


@dataclass(frozen=True, slots=True)
class Published:
    """An image as the registry has it."""

    hex_id: str  # digest of the config: the image's id
    manifest: str  # digest of the manifest: what names end in after @
    layers: tuple[Layer, ...]


@dataclass(slots=True)
class Stored:
    """An image on the node."""

    hex_id: str
    layers: tuple[Layer, ...]
    tags: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    pinned: bool = False
    made_up: str = ""  # the digest name CRI-O lists an image under that has lost its names

    @property
    def compressed(self) -> int:
        return sum(layer.compressed for layer in self.layers)

    @property
    def unpacked(self) -> int:
        return sum(layer.unpacked for layer in self.layers)


class ImageStore:
    """The images of one node and the registry they come from."""

    def __init__(self, habits: Habits) -> None:
        self.habits = habits
        self.registry: dict[str, Published] = {}
        self.images: dict[str, Stored] = {}
        self.pause_name = PAUSE
        self.publish(PAUSE, [Layer(digest_of("pause"), 300_000, 700_000)])

    def users_of(self, image: Stored) -> Iterator[str]:
        """Ids of all that use an image in any way; a store alone has no users."""
        yield from self.mounters_of(image)

    def mounters_of(self, image: Stored) -> Iterator[str]:
        """Ids of the containers that mount an image as a volume."""
        yield from ()

    # --- how images come -----------------------------------------------------------------------

    def publish(self, name: str, layers: Iterable[Layer]) -> Published:
        """Makes `name` mean a new image in the registry, as a push does."""
        layers = tuple(layers)
        made_of = " ".join(layer.diff_id for layer in layers)
        hex_id, manifest = digest_of("config", name, made_of), digest_of("manifest", name, made_of)
        self.registry[name] = Published(hex_id, manifest, layers)
        return self.registry[name]

    def pull(self, name: str, now: float) -> Stored:
        """Pulls by tag, or by digest of an image that some tag means."""
        found = self.registry.get(name)
        if found is None and "@sha256:" in name:
            digest = name.partition("@sha256:")[2]
            found = next((one for one in self.registry.values() if one.manifest == digest), None)
        if found is None:
            code = "UNKNOWN" if self.habits.crio else "NOT_FOUND"
            raise Refused(code, f"failed to pull {name}: manifest unknown")
        image = self.images.setdefault(found.hex_id, Stored(found.hex_id, found.layers))
        if "@" not in name:
            self.tag(image, name)
        _add(image.digests, f"{_repository(name)}@sha256:{found.manifest}")
        image.made_up = ""
        image.pinned = image.pinned or (self.habits.pins_pause and name == self.pause_name)
        return image

    def import_image(self, name: str, layers: Iterable[Layer]) -> Stored:
        """Puts an image there without a registry: it has no digest."""
        layers = tuple(layers)
        hex_id = digest_of("config", name, *(layer.diff_id for layer in layers))
        image = self.images.setdefault(hex_id, Stored(hex_id, layers))
        self.tag(image, name)
        return image

    def tag(self, image: Stored, name: str) -> None:
        """Gives an image a tag, and takes it from whichever image had it."""
        for other in self.images.values():
            if other is not image and name in other.tags:
                other.tags.remove(name)
                if self.habits.crio and not other.tags:
                    _lose_names(other, name)
        _add(image.tags, name)

    # --- how they are found and go -------------------------------------------------------------

    def find(self, text: str) -> Stored | None:
        """The image that a name or id means to this runtime; Refused where it can not tell."""
        plain = text.removeprefix("sha256:")
        if self.habits.crio and text.startswith("sha256:"):
            raise _no_short_name(text)
        if plain in self.images:
            return self.images[plain]
        for image in self.images.values():
            if text in image.tags or text in image.digests:
                return image
        if not self.habits.crio:
            return self._by_full_name(text) or self._by_prefix(plain)
        found = self._by_prefix(plain)
        if found is None and not (is_full_id(text) or _has_host(text)):
            raise _no_short_name(text)
        return found

    def _by_full_name(self, text: str) -> Stored | None:
        """containerd completes short names as Docker does, and goes by the digest where a name has
        both a tag and a digest."""
        wanted = _full_name(text)
        for image in self.images.values():
            if wanted in map(_full_name, (*image.tags, *image.digests)):
                return image
        return None

    def _by_prefix(self, plain: str) -> Stored | None:
        """containerd takes any unambiguous prefix, even an empty one; CRI-O three digits."""
        if plain == "" and self.habits.crio:
            raise Refused("UNKNOWN", "no image specified")
        if any(character not in "0123456789abcdef" for character in plain):
            return None
        if self.habits.crio and len(plain) < SHORTEST_PREFIX:
            return None
        found = [image for key, image in self.images.items() if key.startswith(plain)]
        if len(found) > 1 and plain == "":
            raise Refused("UNKNOWN", "ambiguous digest string")
        return found[0] if len(found) == 1 else None

    def remove_image(self, text: str) -> None:
        """RemoveImage: containerd removes whatever is named, wholly, in use or not; CRI-O refuses
        what is in use and takes a single tag away where there are several (measured)."""
        image = self.find(text)
        if image is None:
            return
        if self.habits.crio:
            self._remove_as_crio(image, text)
        else:
            del self.images[image.hex_id]

    def _remove_as_crio(self, image: Stored, text: str) -> None:
        if text in image.digests and image.tags:
            return  # OK, and nothing removed
        if text in image.tags and len(image.tags) > 1:
            image.tags.remove(text)
            return
        for user in self.mounters_of(image):
            raise Refused("UNKNOWN", f"the image is in use by {user}")
        by_name = text in image.tags or text in image.digests
        for user in self.users_of(image):
            why = f"image used by {user}: image is in use by a container"
            raise Refused("UNKNOWN", why if by_name else f"delete image: {why}")
        del self.images[image.hex_id]


def layer(name: str, compressed: int, ratio: float = 2.6) -> Layer:
    """A layer of that many bytes compressed; the same name is the same layer."""
    return Layer(digest_of("layer", name), compressed, int(compressed * ratio))


def digest_of(*parts: str) -> str:
    """64 hex digits that are the same for the same parts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _lose_names(image: Stored, name: str) -> None:
    """CRI-O: with its last tag an image loses its digest names too. It is listed under one made up
    of the old tag, cut at its first ':', which resolves to nothing (measured)."""
    manifest = next((one.partition("@")[2] for one in image.digests), f"sha256:{image.hex_id}")
    image.digests.clear()
    image.made_up = f"{name.partition(':')[0]}@{manifest}"


def _has_host(name: str) -> bool:
    """Whether a name is whole; CRI-O, with no search registry configured, completes none."""
    host, slash, _ = name.partition("/")
    return slash == "/" and (host == "localhost" or "." in host or ":" in host)


def _no_short_name(text: str) -> Refused:
    why = "did not resolve to an alias and no unqualified-search registries are defined"
    return Refused("UNKNOWN", f'short-name "{text}" {why}')


@functools.lru_cache(maxsize=4096)
def _full_name(name: str) -> str:
    try:
        reference = parse_reference(name)
    except InvalidReference:
        return name
    if reference.digest:
        return f"{reference.repository}@{reference.digest}"
    return f"{reference.repository}:{reference.tag or 'latest'}"


def _repository(name: str) -> str:
    path = name.partition("@")[0]
    head, colon, tail = path.rpartition(":")
    return head if colon and "/" not in tail else path


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)
        names.sort()
