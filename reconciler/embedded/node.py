"""A simulated node: images and their layers, pods, containers, a registry, a disk. No I/O and no
clock: time comes in as an argument. What runtimes do differently is asked of `Habits`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ..domain.inventory import ContainerState, EventKind, FilesystemUsage
from .habits import Habits

PAUSE = "registry.k8s.io/pause:3.10"


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

    @property
    def compressed(self) -> int:
        return sum(layer.compressed for layer in self.layers)

    @property
    def unpacked(self) -> int:
        return sum(layer.unpacked for layer in self.layers)


@dataclass(slots=True)
class Sandbox:
    id: str
    name: str
    namespace: str
    uid: str
    labels: dict[str, str]
    created_at: float
    pause_name: str
    pause: Stored
    ready: bool = True


@dataclass(slots=True)
class Mounted:
    """An image volume: the text it was asked for by, and the image it meant then."""

    path: str
    text: str
    image: Stored


@dataclass(slots=True)
class Container:
    id: str
    sandbox_id: str
    name: str
    asked: str  # the image as the creator named it
    image: Stored
    made_from: str  # repository@digest of the image at creation; CRI-O remembers it
    labels: dict[str, str]
    created_at: float
    volumes: list[Mounted]
    state: ContainerState = ContainerState.CREATED
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    writable: int = 0  # bytes


Listener = Callable[[EventKind, str, str, float], None]  # kind, subject, its sandbox, when


class Node:
    """The world as it is; the server only translates it."""

    def __init__(
        self, habits: Habits, capacity: int = 100 << 30, base: int = 0, mountpoint: str = "/sim"
    ) -> None:
        self.habits, self.capacity, self.base, self.mountpoint = habits, capacity, base, mountpoint
        self.registry: dict[str, Published] = {}
        self.images: dict[str, Stored] = {}
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        self.listeners: list[Listener] = []
        self.pause_name = PAUSE
        self._number = 0
        self.publish(PAUSE, [Layer(_hash("pause"), 300_000, 700_000)])

    # --- registry and images -------------------------------------------------------------------

    def publish(self, name: str, layers: Iterable[Layer]) -> Published:
        """Makes `name` mean a new image in the registry, as a push does."""
        layers = tuple(layers)
        made_of = " ".join(layer.diff_id for layer in layers)
        image = Published(_hash("config", name, made_of), _hash("manifest", name, made_of), layers)
        self.registry[name] = image
        return image

    def pull(self, name: str, now: float) -> Stored:
        """Pulls by tag, or by digest of an image that some tag means."""
        found = self.registry.get(name)
        if found is None and "@sha256:" in name:
            digest = name.partition("@sha256:")[2]
            found = next((one for one in self.registry.values() if one.manifest == digest), None)
        if found is None:
            raise Refused("NOT_FOUND", f"failed to pull {name}: manifest unknown")
        image = self.images.setdefault(found.hex_id, Stored(found.hex_id, found.layers))
        if "@" not in name:
            self.tag(image, name)
        _add(image.digests, f"{_repository(name)}@sha256:{found.manifest}")
        image.pinned = image.pinned or (self.habits.pins_pause and name == self.pause_name)
        return image

    def import_image(self, name: str, layers: Iterable[Layer]) -> Stored:
        """Puts an image there without a registry: it has no digest."""
        layers = tuple(layers)
        hex_id = _hash("config", name, *(layer.diff_id for layer in layers))
        image = self.images.setdefault(hex_id, Stored(hex_id, layers))
        self.tag(image, name)
        return image

    def tag(self, image: Stored, name: str) -> None:
        """Gives an image a tag, and takes it from whichever image had it."""
        for other in self.images.values():
            if other is not image and name in other.tags:
                other.tags.remove(name)
                if self.habits.crio and not other.tags:
                    # CRI-O makes up a name from the old one, cut at its first ':' (measured).
                    cut = name.partition(":")[0]
                    other.digests = [
                        d for d in other.digests if _repository(name) != d.partition("@")[0]
                    ]
                    _add(other.digests, f"{cut}@sha256:{_hash('manifest-of', other.hex_id)}")
        _add(image.tags, name)

    def find(self, text: str) -> Stored | None:
        """The image that a name or id means to this runtime; Refused where it can not tell."""
        plain = text.removeprefix("sha256:")
        if self.habits.crio and text.startswith("sha256:"):
            raise Refused("UNKNOWN", f'short-name "{text}" did not resolve to an alias')
        if plain in self.images:
            return self.images[plain]
        for image in self.images.values():
            if text in image.tags or text in image.digests:
                return image
        return self._by_prefix(plain)

    def _by_prefix(self, plain: str) -> Stored | None:
        """containerd takes any unambiguous prefix, even an empty one; CRI-O three digits."""
        if plain == "" and self.habits.crio:
            raise Refused("UNKNOWN", "no image specified")
        if any(character not in "0123456789abcdef" for character in plain):
            return None
        if self.habits.crio and len(plain) < 3:
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
        if not self.habits.crio:
            del self.images[image.hex_id]
            return
        if text in image.digests and image.tags:
            return  # OK, and nothing removed
        if text in image.tags and len(image.tags) > 1:
            image.tags.remove(text)
            return
        for user in self.users_of(image):
            raise Refused("UNKNOWN", f"image used by {user}: image is in use by a container")
        del self.images[image.hex_id]

    def users_of(self, image: Stored) -> Iterator[str]:
        """Ids of all that use an image in any way: the ground truth."""
        for container in self.containers.values():
            if image.hex_id in {
                container.image.hex_id,
                *(v.image.hex_id for v in container.volumes),
            }:
                yield container.id
        for sandbox in self.sandboxes.values():
            if sandbox.pause.hex_id == image.hex_id:
                yield sandbox.id

    # --- pods and containers -------------------------------------------------------------------

    def run_pod(
        self,
        name: str,
        now: float,
        namespace: str = "default",
        uid: str = "",
        labels: dict[str, str] | None = None,
    ) -> Sandbox:
        """A sandbox, its pause image pulled if it is not there."""
        pause = self.find(self.pause_name) or self.pull(self.pause_name, now)
        sandbox_id = self._new_id("sandbox")
        sandbox = Sandbox(
            sandbox_id, name, namespace, uid, labels or {}, now, self.pause_name, pause
        )
        self.sandboxes[sandbox_id] = sandbox
        if not self.habits.crio:
            self._tell(EventKind.CREATED, sandbox_id, sandbox_id, now)
        self._tell(EventKind.STARTED, sandbox_id, sandbox_id, now)
        return sandbox

    def create(
        self,
        sandbox_id: str,
        image: str,
        now: float,
        name: str = "main",
        volumes: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> Container:
        """A container from an image that must be here; `volumes` are images by mount path."""
        if sandbox_id not in self.sandboxes:
            raise Refused("NOT_FOUND", f"sandbox {sandbox_id} not found")
        if volumes and not self.habits.image_volumes:
            raise Refused("UNKNOWN", 'failed to mkdir ""')
        stored = self._present(image)
        mounted = [
            Mounted(path, text, self._present(text)) for path, text in (volumes or {}).items()
        ]
        made_from = (sorted(stored.digests) or [stored.hex_id])[0]
        container = Container(
            self._new_id("container"),
            sandbox_id,
            name,
            image,
            stored,
            made_from,
            labels or {},
            now,
            mounted,
        )
        self.containers[container.id] = container
        self._tell(EventKind.CREATED, container.id, sandbox_id, now)
        return container

    def start(self, container_id: str, now: float) -> None:
        container = self._container(container_id)
        container.state, container.started_at = ContainerState.RUNNING, now
        self._tell(EventKind.STARTED, container_id, container.sandbox_id, now)

    def exit(self, container_id: str, now: float, code: int = 0) -> None:
        """The container's process ends; it stays, and goes on using its image."""
        container = self._container(container_id)
        if container.state is ContainerState.EXITED:
            return
        container.state, container.finished_at = ContainerState.EXITED, now
        container.exit_code = code
        self._tell(EventKind.STOPPED, container_id, container.sandbox_id, now)

    def remove(self, container_id: str, now: float, tell: bool = True) -> None:
        container = self.containers.get(container_id)
        if container is None:
            return
        self.exit(container_id, now, 137)
        del self.containers[container_id]
        if tell:
            self._tell(EventKind.DELETED, container_id, container.sandbox_id, now)

    def stop_pod(self, sandbox_id: str, now: float) -> None:
        sandbox = self.sandboxes.get(sandbox_id)
        if sandbox is None or not sandbox.ready:
            return
        for container in self.in_pod(sandbox_id):
            self.exit(container.id, now, 137)
        sandbox.ready = False
        self._tell(EventKind.STOPPED, sandbox_id, sandbox_id, now)

    def remove_pod(self, sandbox_id: str, now: float) -> None:
        """Removes a pod and all in it; CRI-O sends no DELETED for any of it (measured)."""
        if sandbox_id not in self.sandboxes:
            return
        self.stop_pod(sandbox_id, now)
        for container in self.in_pod(sandbox_id):
            self.remove(container.id, now, tell=not self.habits.crio)
        if not self.habits.crio:
            self._tell(EventKind.DELETED, sandbox_id, sandbox_id, now)
        del self.sandboxes[sandbox_id]

    def in_pod(self, sandbox_id: str) -> list[Container]:
        return [one for one in self.containers.values() if one.sandbox_id == sandbox_id]

    # --- the disk ------------------------------------------------------------------------------

    def used(self) -> int:
        """Bytes in use: each layer once, in both forms on containerd; what a container runs on
        stays unpacked after its image went (measured)."""
        packed: dict[str, int] = {}
        unpacked: dict[str, int] = {}
        for image in self.images.values():
            for layer in image.layers:
                packed[layer.diff_id] = layer.compressed
                unpacked[layer.diff_id] = layer.unpacked
        writable = 0
        for container in self.containers.values():
            writable += container.writable
            for layer in container.image.layers:
                unpacked[layer.diff_id] = layer.unpacked
        both = sum(unpacked.values()) + (0 if self.habits.crio else sum(packed.values()))
        return self.base + both + writable

    def usage(self, mountpoint: str) -> FilesystemUsage:
        """What statvfs would say of the simulated disk."""
        return FilesystemUsage(mountpoint, 1, self.capacity, min(self.used(), self.capacity))

    # --- inside --------------------------------------------------------------------------------

    def _present(self, text: str) -> Stored:
        image = self.find(text)
        if image is None:
            raise Refused("NOT_FOUND", f"failed to resolve image {text!r}: not found")
        return image

    def _container(self, container_id: str) -> Container:
        if container_id not in self.containers:
            raise Refused("NOT_FOUND", f"container {container_id} not found")
        return self.containers[container_id]

    def _tell(self, kind: EventKind, subject_id: str, sandbox_id: str, now: float) -> None:
        for listener in list(self.listeners):
            listener(kind, subject_id, sandbox_id, now)

    def _new_id(self, what: str) -> str:
        self._number += 1
        return _hash(what, str(self._number))


def layer(name: str, compressed: int, ratio: float = 2.6) -> Layer:
    """A layer of that many bytes compressed; the same name is the same layer."""
    return Layer(_hash("layer", name), compressed, int(compressed * ratio))


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _repository(name: str) -> str:
    path = name.partition("@")[0]
    head, colon, tail = path.rpartition(":")
    return head if colon and "/" not in tail else path


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)
        names.sort()
