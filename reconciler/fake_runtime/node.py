"""A simulated node: pods, containers and disks, on a store of images. No I/O: time is an argument,
except for disks that show late what was freed. `Habits` says what runtimes do differently."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ..domain.inventory import ContainerState, EventKind, FilesystemUsage
from .disks import Disks
from .habits import Habits
from .images import ImageStore, Refused
from .pods import Container, Mounted, Sandbox
from .stored import Layer, Stored, digest_of, layer

__all__ = ["Container", "Layer", "Mounted", "Node", "Refused", "Sandbox", "Stored", "layer"]


Listener = Callable[[EventKind, str, str, float], None]  # kind, subject, its sandbox, when


class Node(ImageStore):
    """The state of the node; the server only translates it."""

    def __init__(
        self,
        habits: Habits,
        capacity: int = 100 << 30,
        base: int = 0,
        mountpoint: str = "/sim",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(habits)
        self.capacity, self.base, self.mountpoint = capacity, base, mountpoint
        self.disks = Disks(self, clock)  # the clock by which they show what was freed
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        self.listeners: list[Listener] = []
        self._number = 0

    def users_of(self, image: Stored) -> Iterator[str]:
        """Ids of all that use an image in any way: the ground truth."""
        mounting = set(self.mounters_of(image))
        for container in self.containers.values():
            if container.image.hex_id == image.hex_id or container.id in mounting:
                yield container.id
        for sandbox in self.sandboxes.values():
            if sandbox.pause.hex_id == image.hex_id:
                yield sandbox.id

    def mounters_of(self, image: Stored) -> Iterator[str]:
        for container in self.containers.values():
            if any(volume.image.hex_id == image.hex_id for volume in container.volumes):
                yield container.id

    # --- pods and containers -------------------------------------------------------------------

    def run_pod(
        self,
        name: str,
        now: float,
        namespace: str = "default",
        uid: str = "",
        labels: dict[str, str] | None = None,
        attempt: int = 0,
    ) -> Sandbox:
        """Makes a sandbox, and pulls its pause image if it is missing. If the sandbox is there
        already, CRI-O returns that one, and containerd refuses (measured)."""
        again = self._same_pod(name, namespace, uid, attempt)
        if again is not None and self.habits.crio:
            return again
        if again is not None:
            text = f"failed to reserve sandbox name {name!r}: it is reserved for {again.id}"
            raise Refused(self.habits.pod_exists, text)
        pause = self.find(self.pause_name) or self.pull(self.pause_name, now)
        sandbox_id = self._new_id("sandbox")
        sandbox = Sandbox(
            sandbox_id, name, namespace, uid, labels or {}, now, self.pause_name, pause, attempt
        )
        self.sandboxes[sandbox_id] = sandbox
        if not self.habits.crio:
            self._notify(EventKind.CREATED, sandbox_id, sandbox_id, now)
        self._notify(EventKind.STARTED, sandbox_id, sandbox_id, now)
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
        """Makes a container from an image that must be here; `volumes` are images by mount path."""
        sandbox = self.sandboxes.get(sandbox_id)
        if sandbox is None:
            raise self._missing(f"specified sandbox not found: {sandbox_id}")
        if volumes and not self.habits.image_volumes:
            raise Refused("UNKNOWN", 'failed to mkdir ""')
        stored = self._present(image)
        mounted = [self._mounted(path, text) for path, text in (volumes or {}).items()]
        sandbox.leased += [volume.image for volume in mounted]
        digests = stored.digests
        container = Container(
            self._new_id("container"),
            sandbox_id,
            name,
            image,
            stored,
            image if image in digests else next(iter(digests), ""),
            stored.some_name,
            labels or {},
            now,
            mounted,
        )
        self.containers[container.id] = container
        self._notify(EventKind.CREATED, container.id, sandbox_id, now)
        return container

    def start(self, container_id: str, now: float) -> None:
        """Starts a container that was made and never started."""
        container = self._container(container_id)
        if container.state is not ContainerState.CREATED:
            state = "running" if container.state is ContainerState.RUNNING else "stopped"
            raise Refused("UNKNOWN", f"container {container_id} is not in created state: {state}")
        container.state, container.started_at = ContainerState.RUNNING, now
        self._notify(EventKind.STARTED, container_id, container.sandbox_id, now)

    def exit(self, container_id: str, now: float, code: int = 0) -> None:
        """The container's process ends; it stays, and still uses its image."""
        container = self._container(container_id)
        if container.state is ContainerState.EXITED:
            return
        container.state, container.finished_at = ContainerState.EXITED, now
        container.exit_code = code
        self._notify(EventKind.STOPPED, container_id, container.sandbox_id, now)

    def remove(self, container_id: str, now: float, notify: bool = True) -> None:
        container = self.containers.get(container_id)
        if container is None:
            return
        self.exit(container_id, now, 137)
        del self.containers[container_id]
        if notify:
            self._notify(EventKind.DELETED, container_id, container.sandbox_id, now)

    def stop_pod(self, sandbox_id: str, now: float) -> None:
        sandbox = self.sandboxes.get(sandbox_id)
        if sandbox is None or not sandbox.ready:
            return
        for container in self.in_pod(sandbox_id):
            self.exit(container.id, now, 137)
        sandbox.ready = False
        self._notify(EventKind.STOPPED, sandbox_id, sandbox_id, now)

    def remove_pod(self, sandbox_id: str, now: float) -> None:
        """Removes a pod and all in it. CRI-O sends no DELETED for any of it; containerd 2.x
        reports the pod while it is still listed, 1.7 when it is gone (measured)."""
        if sandbox_id not in self.sandboxes:
            return
        self.stop_pod(sandbox_id, now)
        for container in self.in_pod(sandbox_id):
            self.remove(container.id, now, notify=not self.habits.crio)
        if self.habits.reports_pod_before_removal:
            self._notify(EventKind.DELETED, sandbox_id, sandbox_id, now)
        del self.sandboxes[sandbox_id]
        if not self.habits.crio and not self.habits.reports_pod_before_removal:
            self._notify(EventKind.DELETED, sandbox_id, sandbox_id, now)

    def in_pod(self, sandbox_id: str) -> list[Container]:
        return [one for one in self.containers.values() if one.sandbox_id == sandbox_id]

    # --- the disk ------------------------------------------------------------------------------

    def used(self) -> int:
        """Bytes in use on the disk: each layer once, on containerd in both forms."""
        packed: dict[str, int] = {}
        for image in self.images.values():
            for one in image.layers:
                packed[one.diff_id] = one.compressed
        return self.base + self.unpacked() + (0 if self.habits.crio else sum(packed.values()))

    def unpacked(self) -> int:
        """Bytes of unpacked layers and of what containers wrote. The image of a container, one
        mounted in a pod and a pause image in use stay unpacked after their removal (measured)."""
        layers: dict[str, int] = {}
        for image in self._unpacked_images():
            for one in image.layers:
                layers[one.diff_id] = one.unpacked
        return sum(layers.values()) + sum(one.writable for one in self.containers.values())

    def _unpacked_images(self) -> Iterator[Stored]:
        yield from self.images.values()
        for container in self.containers.values():
            yield container.image
        for sandbox in self.sandboxes.values():
            yield sandbox.pause
            yield from sandbox.leased

    def usage(self, mountpoint: str) -> FilesystemUsage:
        """What statvfs would say of a simulated disk. Raises FileNotFoundError."""
        return self.disks.measure(mountpoint)

    # --- inside --------------------------------------------------------------------------------

    def _present(self, text: str) -> Stored:
        image = self.find(text)
        if image is None:
            raise self._missing(f"failed to resolve image {text!r}: not found")
        return image

    def _missing(self, text: str) -> Refused:
        """What CreateContainer needs is not here; CRI-O has no own code for that (measured)."""
        return Refused("UNKNOWN" if self.habits.crio else "NOT_FOUND", text)

    def _same_pod(self, name: str, namespace: str, uid: str, attempt: int) -> Sandbox | None:
        wanted = (name, namespace, uid, attempt)
        for one in self.sandboxes.values():
            if (one.name, one.namespace, one.uid, one.attempt) == wanted:
                return one
        return None

    def _mounted(self, path: str, text: str) -> Mounted:
        image = self._present(text)
        return Mounted(path, text, image, image.manifest)

    def _container(self, container_id: str) -> Container:
        if container_id not in self.containers:
            raise Refused("NOT_FOUND", f"container {container_id} not found")
        return self.containers[container_id]

    def _notify(self, kind: EventKind, subject_id: str, sandbox_id: str, now: float) -> None:
        for listener in list(self.listeners):
            listener(kind, subject_id, sandbox_id, now)

    def _new_id(self, what: str) -> str:
        self._number += 1
        return digest_of(what, str(self._number))
