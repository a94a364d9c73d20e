"""A simulated node's life, in fast time: deployments that roll out new versions, cron jobs, bursts
of CI with images used once. The same seed gives the same life."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from .node import Layer, Node, layer

MEBIBYTE = 1 << 20
REGISTRY = "registry.example.com"
SYSTEM = (
    "registry.k8s.io/kube-proxy:v1.34.1",
    "registry.k8s.io/coredns/coredns:v1.12.1",
    "quay.io/calico/node:v3.30.1",
)


Bound = Callable[[str, str, str], None]  # a pod's uid, its namespace/name, its image


@dataclass(slots=True)
class App:
    """One application, deployed again and again: versions share base and dependencies."""

    name: str
    base: Layer
    dependencies: Layer
    version: int = 0
    pods: list[str] = field(default_factory=list)

    @property
    def image(self) -> str:
        return f"{REGISTRY}/{self.name}:v1.0.{self.version}"


class Life:
    """What happens on the node; `step` is one tick of it, `now` in seconds."""

    def __init__(self, node: Node, seed: int) -> None:
        self.node, self._random = node, random.Random(seed)
        self.happened = ""  # the latest event, in words
        self.bound: Bound = lambda uid, name, image: None  # called for every pod before it is made
        bases = [layer(f"base-{n}", self._random.randint(30, 60) * MEBIBYTE) for n in range(3)]
        self._bases = bases
        self._services = [self._app(f"shop/{name}") for name in ("cart", "web", "search", "pay")]
        self._crons = [self._app(f"cron/{name}") for name in ("backup", "report", "cleanup")]
        self._commits = 0
        self._finished: list[tuple[float, str]] = []  # when a job's pod is removed

    def begin(self, now: float) -> None:
        """The node as it comes up: system pods, services, a base image kept for cold starts."""
        for name in SYSTEM:
            self.node.publish(name, [layer(name, 30 * MEBIBYTE)])
            self.node.pull(name, now)
            self._run(name, name.rpartition("/")[2].partition(":")[0], now, "kube-system")
        old = SYSTEM[0].replace("v1.34.1", "v1.33.0")
        self.node.publish(old, [layer(old, 30 * MEBIBYTE)])
        self.node.pull(old, now)
        keep = f"{REGISTRY}/base/python:3.12"
        self.node.publish(keep, [self._bases[0], layer("python", 40 * MEBIBYTE)])
        self.node.pull(keep, now)
        self.node.import_image(f"{REGISTRY}/imported/tool:1", [layer("tool", 25 * MEBIBYTE)])
        for app in self._services:
            self._roll_out(app, now)

    def step(self, now: float) -> None:
        """One thing happens, and the pods of finished jobs are removed."""
        for until, sandbox in [one for one in self._finished if one[0] <= now]:
            self.node.remove_pod(sandbox, now)
            self._finished.remove((until, sandbox))
        chance = self._random.random()
        if chance < 0.25:
            self._roll_out(self._random.choice(self._services), now)
        elif chance < 0.5:
            self._cron(self._random.choice(self._crons), now)
        else:
            self._ci(now)

    def _app(self, name: str) -> App:
        dependencies = layer(f"{name}-deps", self._random.randint(20, 50) * MEBIBYTE)
        return App(name, self._random.choice(self._bases), dependencies)

    def _roll_out(self, app: App, now: float) -> None:
        """A new version: its pods start, those of the old one are removed, whose image stays."""
        app.version += 1
        if app.version % 4 == 0:
            size = self._random.randint(20, 50) * MEBIBYTE
            app.dependencies = layer(f"{app.name}-deps-{app.version}", size)
        self._publish(app)
        self.node.pull(app.image, now)
        before, app.pods = app.pods, []
        app.pods.append(self._run(app.image, app.name.rpartition("/")[2], now))
        for sandbox in before:
            self.node.remove_pod(sandbox, now)
        self.happened = f"deployment {app.name} rolls out v1.0.{app.version}"

    def _cron(self, app: App, now: float) -> None:
        if app.version == 0 or self._random.random() < 0.1:
            app.version += 1
            self._publish(app)
        if not any(app.image in image.tags for image in self.node.images.values()):
            self.node.pull(app.image, now)
            self.happened = f"cron job {app.name} runs, its image pulled"
        else:
            self.happened = f"cron job {app.name} runs"
        self._job(app.image, app.name.rpartition("/")[2], now)

    def _ci(self, now: float) -> None:
        self._commits += 1
        name = f"{REGISTRY}/ci/build:{self._random.getrandbits(28):07x}"
        own = layer(name, self._random.randint(30, 120) * MEBIBYTE)
        self.node.publish(name, [self._random.choice(self._bases), own])
        self.node.pull(name, now)
        self._job(name, "build", now)
        self.happened = f"CI builds commit {name.rpartition(':')[2]}"

    def _publish(self, app: App) -> None:
        own = layer(app.image, self._random.randint(5, 30) * MEBIBYTE)
        self.node.publish(app.image, [app.base, app.dependencies, own])

    def _job(self, image: str, name: str, now: float) -> None:
        sandbox = self._run(image, name, now)
        for container in self.node.in_pod(sandbox):
            self.node.exit(container.id, now)
        self._finished.append((now + self._random.uniform(0.5, 3), sandbox))

    def _run(self, image: str, name: str, now: float, namespace: str = "default") -> str:
        uid = f"{self._random.getrandbits(64):016x}"
        pod = f"{name}-{uid[:5]}"
        self.bound(uid, f"{namespace}/{pod}", image)
        labels = {
            "io.kubernetes.pod.uid": uid,
            "io.kubernetes.pod.name": pod,
            "io.kubernetes.pod.namespace": namespace,
        }
        sandbox = self.node.run_pod(pod, now, namespace, uid, labels)
        container = self.node.create(sandbox.id, image, now, name, labels=labels)
        self.node.start(container.id, now)
        return sandbox.id
