"""A stand-in for the simulated node's kubelet: it reports the pods bound there to the daemon, as
kubelet's Pods API does, before anything is created for them."""

from __future__ import annotations

import time

from ..aiokit import Mailbox
from ..domain.facts import Fact, PodGone, PodReported, PodsReported
from ..domain.inventory import EventKind
from ..domain.pods import MAIN, Need, Pod
from ..fake_runtime.node import Node


class Kubelet:
    """Reports every pod from its binding to its end."""

    def __init__(self, node: Node, mailbox: Mailbox[Fact]) -> None:
        self._node, self._mailbox = node, mailbox
        node.listeners.append(self._on_event)

    def begin(self) -> None:
        """Reports all pods that exist."""
        images = {one.sandbox_id: one.asked for one in self._node.containers.values()}
        pods = tuple(
            _pod(box.uid, f"{box.namespace}/{box.name}", images[box.id])
            for box in self._node.sandboxes.values()
            if box.id in images
        )
        all_pods = PodsReported(time.time(), "socket", pods, "the simulated node's kubelet")
        self._mailbox.put(("pods", "all"), all_pods)

    def bound(self, uid: str, name: str, image: str) -> None:
        """Reports a pod bound to the node, whose one container will be made from an image."""
        pod = PodReported(time.time(), "socket", _pod(uid, name, image))
        self._mailbox.put(("pod", uid), pod)

    def _on_event(self, kind: EventKind, subject: str, sandbox: str, now: float) -> None:
        box = self._node.sandboxes.get(sandbox)
        if kind is EventKind.DELETED and subject == sandbox and box is not None:
            self._mailbox.put(("pod", box.uid), PodGone(now, "socket", box.uid))


def _pod(uid: str, name: str, image: str) -> Pod:
    return Pod(uid, name, (Need(image, MAIN, "main", "IfNotPresent"),))
