"""The images of a simulated node: a registry to pull from, names that move, ids, layers, removal.
No I/O and no clock. `Habits` says what runtimes do differently."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..domain.inventory import is_full_id
from ..domain.names import name_key
from .habits import Habits
from .names import digest_name, has_host, is_well_formed, repository
from .stored import Layer, Published, Stored, digest_of, layer, made_from

__all__ = ["ImageStore", "Layer", "Refused", "Stored", "layer"]

PAUSE = "registry.k8s.io/pause:3.10"
SHORTEST_PREFIX = 3  # digits of an id that CRI-O accepts for it; containerd accepts even none

_DIGITS = re.compile(r"[0-9a-f]*")
_CUT_ID = re.compile(r"[0-9a-f]{12}")


class Refused(Exception):
    """A call the runtime answers with an error; `code` is gRPC's name for it."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class ImageStore:
    """The images of one node and the registry they come from."""

    def __init__(self, habits: Habits) -> None:
        self.habits = habits
        self.registry: dict[str, Published] = {}  # by whole names
        self.aliases: dict[str, str] = {}  # short names that CRI-O knows -> repositories
        self.search: list[str] = []  # registries in which CRI-O looks for others, in this order
        self.images: dict[str, Stored] = {}
        self.pause_name = PAUSE
        self.publish(PAUSE, [Layer(digest_of("pause"), 300_000, 700_000)])

    def users_of(self, image: Stored) -> Iterator[str]:
        """Ids of all that use an image in any way; a store by itself has no users."""
        yield from self.mounters_of(image)

    def mounters_of(self, image: Stored) -> Iterator[str]:
        """Ids of the containers that mount an image as a volume."""
        yield from ()

    # --- how images arrive -----------------------------------------------------------------------

    def publish(self, name: str, layers: Iterable[Layer]) -> Published:
        """Makes `name` mean a new image in the registry, as a push does. A name without a
        host is Docker Hub's, and the node knows the short name."""
        whole = name_key(name)
        if not has_host(name):
            self.aliases[repository(name)] = repository(whole)
        self.registry[whole] = made_from(whole, layers)
        return self.registry[whole]

    def pull(self, name: str, now: float) -> Stored:
        """Pulls by tag, or by digest of an image that some tag means."""
        whole = self._whole_name(name)
        found = self.registry.get(whole)
        if found is None and "@sha256:" in whole:
            digest = whole.partition("@sha256:")[2]
            found = next((one for one in self.registry.values() if one.manifest == digest), None)
        if found is None:
            code = "UNKNOWN" if self.habits.crio else "NOT_FOUND"
            raise Refused(code, f"failed to pull {name}: manifest unknown")
        image = self._stored(found)
        self.tag(image, whole)
        if not self.habits.crio:
            self.tag(image, digest_name(whole, found.manifest))
        image.pinned = image.pinned or (self.habits.pins_pause and whole == self.pause_name)
        return image

    def import_image(self, name: str, layers: Iterable[Layer], digests: str = "") -> Stored:
        """Puts an image there without a registry, as a build does: containerd lists no name by its
        digest, CRI-O does. `digests`: also a name by digest, of this repository, as `ctr images
        import --digests` makes; on containerd 1.6 and 1.7 RemoveImage leaves it (measured)."""
        whole = name_key(name)
        image = self._stored(made_from(whole, layers))
        self.tag(image, whole)
        if digests:
            made_up = name_key(digest_name(digests, image.manifest))
            self.tag(image, made_up)
            image.stuck.add(made_up)
        return image

    def tag(self, image: Stored, name: str) -> None:
        """Gives an image a name, and takes it from whichever image had it."""
        for other in self.images.values():
            if other is not image and name in other.names:
                self._take(other, name)
        if name in image.names:
            image.names.remove(name)
        image.names.insert(0, name)
        image.lost = image.names[-1]

    def untag(self, image: Stored, name: str) -> None:
        """Takes a name from an image, which stays."""
        self._take(image, name)
        image.lost = image.names[-1] if image.names else image.lost

    def _take(self, image: Stored, name: str) -> None:
        image.names.remove(name)
        if self.habits.crio and name == self.pause_name:
            image.pinned = False  # it pins by name

    def _stored(self, made: Published) -> Stored:
        fresh = Stored(made.hex_id, made.manifest, made.layers, self.habits.crio)
        return self.images.setdefault(made.hex_id, fresh)

    # --- how they are found and removed --------------------------------------------------------

    def find(self, text: str) -> Stored | None:
        """The image that a name or id means to this runtime. Raises Refused if it is ambiguous."""
        if self.habits.crio:
            return self._find_as_crio(text)
        plain = text.removeprefix("sha256:")
        return self.images.get(plain) or self._named(name_key(text)) or self._by_prefix(plain)

    def look_up(self, text: str) -> Stored | None:
        """`find` for ImageStatus: there CRI-O reads 12 digits as the id of an image that is not
        here, in other calls as a short name (measured)."""
        try:
            return self.find(text)
        except Refused:
            if self.habits.crio and _CUT_ID.fullmatch(text):
                return None
            raise

    def _find_as_crio(self, text: str) -> Stored | None:
        """By bare id, by three or more of its digits, by name; an id with `sha256:` before it is
        read as a name (measured)."""
        if text == "":
            raise Refused("UNKNOWN", "no image specified")
        if is_full_id(text) and ":" not in text:
            return self.images.get(text)
        found = self._by_prefix(text) if len(text) >= SHORTEST_PREFIX else None
        return found or self._named(self._whole_name(text))

    def _whole_name(self, text: str) -> str:
        """A name completed. CRI-O uses only its search registries and aliases for that."""
        if not is_well_formed(text):
            raise Refused("UNKNOWN", f"{text!r}: invalid reference format")
        if self.habits.crio and not has_host(text):
            short = repository(text)
            if short not in self.aliases:
                return self._searched(text)
            text = self.aliases[short] + text.removeprefix(short)
        return name_key(text)

    def _searched(self, text: str) -> str:
        """The first of the possible names that is here or can be pulled, or else the last."""
        if not self.search:
            raise _no_short_name(text)
        names = [name_key(f"{host}/{text}") for host in self.search]
        there = (name for name in names if self._named(name) or name in self.registry)
        return next(there, names[-1])

    def _named(self, whole: str) -> Stored | None:
        for image in self.images.values():
            if whole in image.names or ("@" in whole and whole in image.digests):
                return image
        return None

    def _by_prefix(self, plain: str) -> Stored | None:
        """An unambiguous prefix of an id, on containerd even an empty one."""
        if not _DIGITS.fullmatch(plain):
            return None
        found = [image for key, image in self.images.items() if key.startswith(plain)]
        if len(found) > 1 and plain == "":
            raise Refused("UNKNOWN", "ambiguous digest string")
        return found[0] if len(found) == 1 else None

    def remove_image(self, text: str) -> None:
        """RemoveImage: containerd removes any image that is named, wholly, in use or not; CRI-O
        refuses what is in use and removes a single name where there are several (measured)."""
        image = self.find(text)
        if image is None:
            return
        if self.habits.crio:
            self._remove_as_crio(image, text)
        elif image.stuck:
            image.names = [name for name in image.names if name in image.stuck]
        else:
            del self.images[image.hex_id]

    def _remove_as_crio(self, image: Stored, text: str) -> None:
        """By name, only that name is removed if others are left: the name by digest of an image
        pulled by tag is not one of its names, so nothing is removed. What is mounted is refused
        first (cri-o, server/image_remove.go)."""
        for user in self.mounters_of(image):
            raise Refused("UNKNOWN", f"the image is in use by {user}")
        by_name = not image.hex_id.startswith(text)
        name = self._whole_name(text) if by_name else ""
        if by_name and image.names != [name]:
            if name in image.names:
                self.untag(image, name)
            return
        for user in self.users_of(image):
            why = f"image used by {user}: image is in use by a container"
            raise Refused("UNKNOWN", why if by_name else f"delete image: {why}")
        del self.images[image.hex_id]


def _no_short_name(text: str) -> Refused:
    why = "did not resolve to an alias and no unqualified-search registries are defined"
    return Refused("UNKNOWN", f'short-name "{text}" {why}')
