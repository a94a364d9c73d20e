"""The cluster with its registry, images and disk, as a scenario uses them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc

from reconciler.fake_runtime._pb import workload_pb2 as pb
from tests.real.chaos_observer import Observer
from tests.real.images import MEBIBYTE, Registry, until

from .api import Api
from .control import CONTAINERD, Node
from .daemonset import HIGH, LOW, DaemonSet
from .sandbox import IMAGES

FILLER = IMAGES / "filler"
STOCK, SIZE = 40, 6 * MEBIBYTE  # old unused images; on disk each takes twice its size
OVER = 8 * MEBIBYTE  # how far usage is brought over the high mark
PODS = "/api/v1/namespaces/default/pods"


@dataclass
class Figure:
    """One result; `good` None: for information only."""

    scenario: str
    mode: str
    name: str
    value: str
    target: str = ""
    good: bool | None = None


@dataclass
class Lab:
    """All that a scenario may use."""

    node: Node
    registry: Registry
    daemon: DaemonSet
    enough: int = 300  # pods that a race takes
    figures: list[Figure] = field(default_factory=list)

    @property
    def api(self) -> Api:
        return self.node.api

    def stock(self) -> dict[str, str]:
        """The old, unused images, by name, with their ids; those missing are pulled here."""
        names = self.registry.stock(STOCK, SIZE)
        with ThreadPoolExecutor(2) as pool:
            return dict(zip(names, pool.map(self.pulled, names), strict=True))

    def pulled(self, name: str) -> str:
        """The id of an image that is here, or is pulled now."""
        driver = self.node.workload.driver
        answer = driver.call("ImageStatus", image=pb.ImageSpec(image=name))
        return str(answer.image.id) if answer.HasField("image") else self.node.workload.pull(name)

    def present(self, image_id: str) -> bool:
        return self.node.workload.has(image_id)

    @contextlib.contextmanager
    def pressure(self) -> Iterator[None]:
        """Brings usage over the high mark by a file of no image's, until the end of the block."""
        missing = mark(HIGH) + OVER - self.used()
        assert missing > 0, f"{self.used() / MEBIBYTE:.0f} MiB in use already"
        self.fill(missing)
        try:
            yield
        finally:
            FILLER.unlink(missing_ok=True)

    def fill(self, size: int) -> None:
        """Makes that file longer by `size` bytes."""
        with FILLER.open("ab") as file:
            os.posix_fallocate(file.fileno(), file.tell(), size)

    def used(self) -> int:
        """In use on the image filesystem, as the operator's contract counts it."""
        found = os.statvfs(IMAGES)
        return (found.f_blocks - found.f_bavail) * found.f_frsize

    @property
    def low(self) -> int:
        return mark(LOW)

    def sandboxes(self) -> dict[str, float]:
        """When the newest sandbox of each pod here was made, by the pod's name."""
        listed = self.node.workload.driver.call("ListPodSandbox").items
        found: dict[str, float] = {}
        for box in sorted(listed, key=lambda one: one.created_at):
            found[box.metadata.name] = box.created_at / 1e9
        return found

    def first_containers(self) -> dict[str, float]:
        """Seconds from each pod's sandbox to its first container, by the pod's name, as the runtime
        dates them."""
        driver = self.node.workload.driver
        boxes = {box.id: box for box in driver.call("ListPodSandbox").items}
        found: dict[str, float] = {}
        for one in driver.call("ListContainers").containers:
            box = boxes.get(one.pod_sandbox_id)
            if box is not None:
                name, after = box.metadata.name, (one.created_at - box.created_at) / 1e9
                found[name] = min(after, found.get(name, after))
        return found

    def running(self) -> dict[str, str]:
        """The image id of every running container, by the container's id."""
        listed = self.node.workload.driver.call("ListContainers").containers
        return {one.id: one.image_ref for one in listed if one.state == pb.CONTAINER_RUNNING}

    def remove_pods(self, patience: float = 90.0) -> None:
        """Deletes all pods of the default namespace, and what the node has of them. Kubelet would
        leave sandboxes and ended containers, which use their images, for a minute."""
        for pod in self.api.get(PODS)["items"]:
            self.api.delete(f"{PODS}/{pod['metadata']['name']}")
        with ThreadPoolExecutor(4) as pool:
            until(lambda: self._swept(pool), patience, "pods do not end")

    def _swept(self, pool: ThreadPoolExecutor) -> bool:
        """Removes what is there; returns whether nothing was."""
        listed = self.node.workload.driver.call("ListPodSandbox").items
        here = [box.id for box in listed if box.metadata.namespace == "default"]
        list(pool.map(self._sweep, here))
        return not here

    def _sweep(self, sandbox: str) -> None:
        with contextlib.suppress(grpc.RpcError):  # kubelet removes them too
            self.node.workload.remove_pod(sandbox)

    @contextlib.contextmanager
    def observed(self) -> Iterator[Observer]:
        """An observer of who uses which image, independent of the daemon."""
        observer = Observer(str(CONTAINERD), f"{self.registry.address}/pause:3.10", False)
        observer.start()
        try:
            yield observer
        finally:
            observer.end()
        if observer.failure is not None:
            raise observer.failure

    def note(
        self, scenario: str, name: str, value: object, target: str = "", good: bool | None = None
    ) -> None:
        """Notes a figure of the mode that runs."""
        figure = Figure(scenario, self.daemon.mode, name, str(value), target, good)
        self.figures.append(figure)
        sign = {True: "ok", False: "MISSED", None: ""}[good]
        print(
            f"  {scenario}, {name}: {value} {f'({target})' if target else ''} {sign}".rstrip(),
            flush=True,
        )


def mark(text: str) -> int:
    """Bytes of a mark of the policy."""
    return int(text.removesuffix("Mi")) * MEBIBYTE


def namespace_ready(api: Api) -> bool:
    """Whether pods may be made in the default namespace: its account has to be there first."""
    return api.exists("/api/v1/namespaces/default/serviceaccounts/default")
