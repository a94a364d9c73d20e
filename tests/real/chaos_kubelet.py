"""What kubelet does to a node, by several at once and at the rate the machine bears: pods made and
ended, tags moved, images pulled by digest and mounted. Each worker does as kubelet does: it looks
whether the image is there, pulls it if not, creates by the id it got, and tries again when
that fails."""

from __future__ import annotations

import random
import threading
from collections import Counter

import grpc

from reconciler.fake_runtime._pb import workload_pb2 as pb
from tests.workload import Workload

from .containerd import Containerd
from .images import MEBIBYTE, Registry

SIZE = 2 * MEBIBYTE  # bytes of one image's own layer
NAMES = 40
PODS = 4  # of one worker at a time
TRIES = 6
PATIENCE = 20.0  # seconds for one call


class Worker:
    """One actor with a channel, a random generator and pods of its own; `counts` is what it did."""

    def __init__(self, node: Containerd, registry: Registry, seed: str) -> None:
        self.name = f"worker{seed}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._node, self._registry, self._random = node, registry, random.Random(seed)
        self._number = 0
        self._work = Workload(str(node.socket))
        self._over = threading.Event()
        self._pods: dict[str, list[tuple[str, str]]] = {}  # pod -> containers and their images
        self.counts: Counter[str] = Counter()
        self.failure: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Has it end after the step it is at, and waits for that."""
        self._over.set()
        self._thread.join(120)
        self._work.close()

    def _run(self) -> None:
        while not self._over.is_set():
            self.counts["steps"] += 1
            try:
                self._step()
            except grpc.RpcError as error:
                self._failed(error)
            except Exception as error:
                self.failure = error
                return

    def _failed(self, error: grpc.RpcError) -> None:
        """A call failed: the runtime is away, or half way up; kubelet comes again later."""
        self.counts[f"failed {error.code().name}"] += 1
        self._over.wait(0.2)

    def _step(self) -> None:
        steps = [self._begin_pod, self._end_pod, self._restart, self._stop, self._move_tag]
        steps += [self._pull_by_digest, self._add_tag, self._forget_pods]
        weights = [30, 20, 20, 8, 10, 6, 5, 3]
        self._random.choices(steps, weights)[0]()

    # --- pods ----------------------------------------------------------------------------------

    def _begin_pod(self) -> None:
        if len(self._pods) >= PODS:
            self._end_pod()
        self._number += 1
        pod = self._work.run_pod(f"{self.name}-{self._number}")
        self._pods[pod] = []
        self.counts["pods"] += 1
        for _ in range(self._random.choice((1, 1, 2))):
            self._begin_container(pod, self._some_name())

    def _begin_container(self, pod: str, name: str) -> None:
        """Kubelet's way from an image's name to a running container."""
        for _ in range(TRIES):
            image_id = self._ensured(name)
            volumes = {}
            if self._node.has_image_volumes and self._random.random() < 0.25:
                volumes = {"/data": self._ensured(self._some_name())}
            asked = image_id if self._random.random() < 0.8 else name
            try:
                container = self._work.create(pod, asked, volumes, deadline=PATIENCE)
            except grpc.RpcError as error:
                if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNKNOWN):
                    self.counts["images gone between the look and the creation"] += 1
                    continue
                raise
            self._pods[pod].append((container, name))
            self._work.start(container)
            self.counts["containers"] += 1
            return

    def _ensured(self, name: str) -> str:
        """The id of the image a name means here, pulled if it is not here (IfNotPresent)."""
        answer = self._work.driver.call("ImageStatus", PATIENCE, image=pb.ImageSpec(image=name))
        if answer.HasField("image"):
            return str(answer.image.id)
        return self._pulled(name)

    def _pulled(self, name: str) -> str:
        self.counts["pulls"] += 1
        answer = self._work.driver.call("PullImage", PATIENCE, image=pb.ImageSpec(image=name))
        return str(answer.image_ref)

    def _end_pod(self) -> None:
        if self._pods:
            pod = self._random.choice(list(self._pods))
            self._work.remove_pod(pod)
            del self._pods[pod]

    def _restart(self) -> None:
        """Makes one container of a pod again, from what its name means now."""
        pod = self._some_pod()
        if pod is None:
            return
        container, name = self._pods[pod].pop()
        self._work.stop(container)
        self._begin_container(pod, name)
        self._work.remove(container)

    def _stop(self) -> None:
        """Stops a container and leaves it, as kubelet leaves the last one of each name."""
        pod = self._some_pod()
        if pod is not None:
            self._work.stop(self._random.choice(self._pods[pod])[0])

    def _some_pod(self) -> str | None:
        pods = [pod for pod, containers in self._pods.items() if containers]
        return self._random.choice(pods) if pods else None

    def _forget_pods(self) -> None:
        """Pods of this worker that calls cut short have left are removed, as kubelet does, and
        those that are gone are forgotten."""
        listed = self._work.driver.call("ListPodSandbox", PATIENCE).items
        mine = {box.id for box in listed if box.metadata.name.startswith(f"{self.name}-")}
        self._pods = {pod: made for pod, made in self._pods.items() if pod in mine}
        for pod in mine - self._pods.keys():
            self._work.remove_pod(pod)

    # --- images --------------------------------------------------------------------------------

    def _some_name(self) -> str:
        return f"{self._registry.address}/chaos{self._random.randrange(NAMES)}:v1"

    def _move_tag(self) -> None:
        """A tag means another image from now on; sometimes it is pulled at once (Always)."""
        name = self._some_name()
        self._registry.app(name.partition("/")[2], SIZE)
        self.counts["tags moved"] += 1
        if self._random.random() < 0.5:
            self._pulled(name)

    def _pull_by_digest(self) -> None:
        name = self._some_name()
        self._pulled(f"{name.rpartition(':')[0]}@{self._registry.digest(name)}")

    def _add_tag(self) -> None:
        """The same image under a second tag."""
        name = self._some_name()
        other = f"{name.rpartition(':')[0]}:also"
        self._registry.tag(name, other)
        self._pulled(other)


def publish(registry: Registry) -> None:
    """The images that workers make pods of."""
    for number in range(NAMES):
        registry.app(f"chaos{number}:v1", SIZE)
