"""Who used which image when, noted apart from the daemon: an observer with a channel and records of
its own, that shares no code with it but the protocol's messages.

It lists containers, then images, then containers again, all the time. A container that both
lists hold had its image all the while between them, so an image that is not listed in between was
removed under it. Afterwards every removal that the daemon logged is compared with the records too,
so that an image removed and pulled again between two looks does not slip through.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import grpc

from reconciler.fake_runtime._pb import workload_pb2 as pb
from reconciler.fake_runtime.wire import Driver

EVERY = 0.1  # seconds between looks
PATIENCE = 10.0  # seconds for one answer
# No node can be listed and an image removed in one step: a container that is made from an old image
# in between is made too late to be seen. A removal this soon after is counted apart.
WINDOW = 1.0  # seconds


@dataclass
class Use:
    """One container: the images it needs, when it was made, when it was last seen."""

    images: frozenset[str]
    created_at: float
    last_seen: float


@dataclass
class Finding:
    """An image that was removed, or asked to be, under a container."""

    container: str
    image: str
    seconds: float | None  # from the container's creation to the removal; None: no removal of ours
    how: str

    @property
    def in_the_window(self) -> bool:
        return self.seconds is not None and self.seconds <= WINDOW


@dataclass
class Records:
    """What the observer knows."""

    uses: dict[str, Use] = field(default_factory=dict)
    missing: dict[tuple[str, str], float] = field(default_factory=dict)  # and when it was noticed
    pause_missing: int = 0
    looks: int = 0


class Observer:
    """Looks until `end`."""

    def __init__(self, socket_path: str, pause_name: str, image_volumes: bool) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._driver, self._pause_name = Driver(socket_path), pause_name
        self._image_volumes = image_volumes
        self._over = threading.Event()
        self._looked_at = 0.0  # when the last whole look began
        self.records = Records()
        self.failure: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join(60)
        self._driver.close()

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            try:
                self.look()
            except grpc.RpcError:
                continue  # the runtime is away
            except Exception as error:
                self.failure = error
                return

    def look(self) -> None:
        """One look. Raises grpc.RpcError when the runtime does not answer all of it."""
        began = time.time()
        before, boxes_before = self._containers(), self._sandboxes()
        for container_id, container in before.items():
            if container_id not in self.records.uses:
                self._note(container)
        images = self._images()
        after, boxes_after = self._containers(), self._sandboxes()
        now = time.time()
        for container_id in before.keys() & after.keys():
            use = self.records.uses.get(container_id)
            if use is None:
                continue
            use.last_seen = now
            for image in use.images - images.keys():
                self.records.missing.setdefault((container_id, image), now)
        names = {tag for image in images.values() for tag in image.repo_tags}
        self.records.pause_missing += (
            bool(boxes_before & boxes_after) and self._pause_name not in names
        )
        self.records.looks += 1
        self._looked_at = began

    def _note(self, container: Any) -> None:
        """A container seen for the first time: what it was made from, and what it mounts."""
        images = {container.image_ref}
        if self._image_volumes:
            try:
                status = self._ask("ContainerStatus", container_id=container.id).status
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return
                raise
            images |= {mount.image.image for mount in status.mounts if mount.image.image}
        assert all(image.startswith("sha256:") for image in images), images
        # A container whose making a kill cut short has no time: made after the last look at least.
        made_at = container.created_at / 1e9 or self._looked_at
        self.records.uses[container.id] = Use(frozenset(images), made_at, made_at)

    def _ask(self, call: str, **fields: Any) -> Any:
        return self._driver.call(call, PATIENCE, **fields)

    def _containers(self) -> dict[str, Any]:
        return {one.id: one for one in self._ask("ListContainers").containers}

    def _sandboxes(self) -> set[str]:
        return {one.id for one in self._ask("ListPodSandbox").items}

    def _images(self) -> dict[str, pb.Image]:
        return {one.id: one for one in self._ask("ListImages").images}


def findings(records: Records, removals: list[dict[str, Any]]) -> list[Finding]:
    """All that was removed, or missing, under a container; `removals` are the daemon's own log
    lines, one for every RemoveImage that it was about to send."""
    sent = [(line["image"], seconds(line["timestamp"])) for line in removals]
    found = {}
    for container, use in records.uses.items():
        for image, at in sent:
            if image in use.images and use.created_at < at < use.last_seen:
                found[container, image] = Finding(
                    container, image, at - use.created_at, "a removal was sent for it"
                )
    for (container, image), noticed in records.missing.items():
        created_at = records.uses[container].created_at
        times = [at for removed, at in sent if removed == image and at <= noticed]
        gap = max(0.0, max(times) - created_at) if times else None
        found.setdefault((container, image), Finding(container, image, gap, "it was not listed"))
    return list(found.values())


def seconds(timestamp: str) -> float:
    """A log line's time as seconds since 1970."""
    return datetime.fromisoformat(timestamp).timestamp()


def tally(found: list[Finding]) -> Counter[str]:
    """Violations, and what fell into the window that no one can close."""
    return Counter("raced" if one.in_the_window else "violations" for one in found)
