"""The simulated node's kubelet, as far as the demo has one: it tells the daemon of the pods that
are bound there, as kubelet's Pods API does, before anything is made of them."""

from __future__ import annotations

import time

from ..aiokit import Mailbox
from ..domain.facts import Fact, PodGone, PodReported, PodsReported
from ..domain.inventory import EventKind
from ..domain.pods import MAIN, Need, Pod
from ..fake_runtime.node import Node


class Kubelet:
    """Tells of every pod from its binding to its end."""

    def __init__(self, node: Node, mailbox: Mailbox[Fact]) -> None:
        self._node, self._mailbox = node, mailbox
        node.listeners.append(self._heard)

    def begin(self) -> None:
        """Tells of all that are there."""
        images = {one.sandbox_id: one.asked for one in self._node.containers.values()}
        pods = tuple(
            _pod(box.uid, f"{box.namespace}/{box.name}", images[box.id])
            for box in self._node.sandboxes.values()
            if box.id in images
        )
        told = PodsReported(time.time(), "socket", pods, "the simulated node's kubelet")
        self._mailbox.put(("pods", "all"), told)

    def bound(self, uid: str, name: str, image: str) -> None:
        """A pod is bound to the node; its one container will be made from an image."""
        told = PodReported(time.time(), "socket", _pod(uid, name, image))
        self._mailbox.put(("pod", uid), told)

    def _heard(self, kind: EventKind, subject: str, sandbox: str, now: float) -> None:
        box = self._node.sandboxes.get(sandbox)
        if kind is EventKind.DELETED and subject == sandbox and box is not None:
            self._mailbox.put(("pod", box.uid), PodGone(now, "socket", box.uid))


def _pod(uid: str, name: str, image: str) -> Pod:
    return Pod(uid, name, (Need(image, MAIN, "main", "IfNotPresent"),))
