"""The demo's rival: least recently used, on a disk of its own, with the same pods.

It sees what the node's pods start and nothing of what the daemon does. What it would have removed
and had to pull again is shown next to what the daemon did.
"""

from __future__ import annotations

from ..domain.inventory import EventKind
from ..fake_runtime.node import Node
from ..fake_runtime.stored import Stored


class Rival:
    """The images that this node would have with least recently used, between the same marks."""

    def __init__(self, node: Node, high: float, low: float) -> None:
        self._node, self._high, self._low = node, high * node.capacity, low * node.capacity
        self._here: dict[str, Stored] = {}
        self._used_at: dict[str, float] = {}
        self._users: dict[str, set[str]] = {}
        self._containers: dict[str, str] = {}  # container -> image
        self._gone: set[str] = set()
        self._gone_from_us: set[str] = set()
        self.removed = 0
        self.again = 0  # pulls of images that it had removed
        self.again_bytes = 0  # compressed, whole images
        self.ours_again = 0  # pulls of images that the daemon had removed
        node.listeners.append(self._on_event)

    def removed_by_us(self, image_id: str) -> None:
        """Notes that the daemon removed an image."""
        self._gone_from_us.add(image_id.removeprefix("sha256:"))

    def _on_event(self, kind: EventKind, subject: str, sandbox: str, now: float) -> None:
        if kind is EventKind.CREATED and subject in self._node.containers:
            self._start(subject, self._node.containers[subject].image, now)
        elif kind is EventKind.DELETED and subject in self._containers:
            key = self._containers.pop(subject)
            self._users[key].discard(subject)
            self._used_at[key] = now

    def _start(self, container: str, image: Stored, now: float) -> None:
        key = image.hex_id
        if key in self._gone_from_us:
            self._gone_from_us.discard(key)
            self.ours_again += 1
        if key in self._gone:
            self._gone.discard(key)
            self.again += 1
            self.again_bytes += image.compressed
        self._here[key] = image
        self._used_at[key] = now
        self._users.setdefault(key, set()).add(container)
        self._containers[container] = key
        if self._used() >= self._high:
            self._reclaim()

    def _reclaim(self) -> None:
        idle = [key for key in self._here if not self._users[key]]
        for key in sorted(idle, key=lambda key: (self._used_at[key], key)):
            if self._used() <= self._low:
                return
            del self._here[key]
            self._gone.add(key)
            self.removed += 1

    def _used(self) -> int:
        """Bytes in use: each layer once, in both forms; images that nothing ever started are the
        same for both."""
        started = self._users.keys()
        others = [one for key, one in self._node.images.items() if key not in started]
        layers = {
            layer.diff_id: layer.compressed + layer.unpacked
            for one in (*self._here.values(), *others)
            for layer in one.layers
        }
        return self._node.base + sum(layers.values())
