"""A simulated kubelet: pods that are bound to the node, and how it brings them up, step by step.

Each step of a pod is a move of its own, so that everything else can happen in between. A container
is begun in one step and there in another: a runtime lists it at the end of its creation only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.domain.inventory import ContainerState
from reconciler.fake_runtime.node import Node, Refused, Stored

SHORT = "registry.example.com"  # where this node's CRI-O looks names up that have no host


@dataclass(frozen=True)
class Wanted:
    """One container of a pod's spec. `kind` is init, sidecar, main or ephemeral; `volume` is an
    image that it mounts."""

    name: str
    image: str
    kind: str = "main"
    policy: str = "IfNotPresent"
    volume: str = ""


@dataclass(frozen=True)
class Template:
    """What pods are made alike from. `label`: what their controller marks them by, with its value;
    `once`: they run to an end (a Job)."""

    namespace: str
    prefix: str
    label: tuple[str, str] | None
    wanted: tuple[Wanted, ...]
    once: bool = False


@dataclass
class Pod:
    """One pod bound here."""

    template: Template
    uid: str
    name: str
    wanted: list[Wanted]
    waits: bool = False  # for a secret or a volume: there is not even a sandbox
    sandbox: str = ""
    made: dict[str, str] = field(default_factory=dict)  # containers by name, in this sandbox
    done: set[str] = field(default_factory=set)  # init containers that ended well
    creating: tuple[Wanted, Stored, Stored | None] | None = None  # with its volume's image
    finished: bool = False  # Succeeded
    leaving: bool = False  # it was deleted, and is being stopped

    @property
    def labels(self) -> dict[str, str]:
        """As kubelet sets them on the sandbox."""
        given = dict((self.template.label,)) if self.template.label else {}
        return {**given, **self.inside}

    @property
    def inside(self) -> dict[str, str]:
        """As kubelet sets them on its containers."""
        return {
            "io.kubernetes.pod.name": self.name,
            "io.kubernetes.pod.namespace": self.template.namespace,
            "io.kubernetes.pod.uid": self.uid,
        }


class Kubelet:
    """The pods of one node; `changed` and `gone` are callbacks."""

    def __init__(self, node: Node, clock: Callable[[], float]) -> None:
        self.node, self._clock = node, clock
        self.pods: dict[str, Pod] = {}
        self.templates: list[Template] = []
        self.changed: Callable[[Pod], None] = lambda pod: None
        self.gone: Callable[[Pod], None] = lambda pod: None

    def bind(self, template: Template, uid: str, waits: bool) -> Pod:
        """A pod is bound to this node."""
        suffix = f"-{int(uid) % 10}" if template.once else f"-{'bcdfghjklm'[int(uid) % 10]}5x7z"
        pod = Pod(template, uid, template.prefix + suffix, list(template.wanted), waits)
        self.pods[uid] = pod
        self.changed(pod)
        return pod

    def add(self, pod: Pod, wanted: Wanted) -> None:
        """An ephemeral container joins a pod."""
        pod.wanted.append(wanted)
        self.changed(pod)

    def delete(self, pod: Pod) -> None:
        """A pod is deleted: its containers stop; its next step removes it."""
        pod.leaving = True
        self.node.stop_pod(pod.sandbox, self._clock())
        self.changed(pod)

    def needed(self, image: Stored) -> str | None:
        """A pod that will need an image, or may again: the ground truth."""
        for pod in self.pods.values():
            if pod.finished or pod.leaving:
                continue
            for wanted in pod.wanted:
                if any(self.found(one) is image for one in (wanted.image, wanted.volume) if one):
                    return f"{pod.name} ({wanted.kind} {wanted.name})"
        return None

    def found(self, text: str) -> Stored | None:
        """The image that a spec's text means to the runtime now."""
        try:
            return self.node.find(text)
        except Refused:
            full = f"{SHORT}/{text}"
            return next((one for one in self.node.images.values() if full in one.tags), None)

    # --- one step ------------------------------------------------------------------------------

    def go_on(self, pod: Pod) -> str:
        """The next thing that kubelet does for a pod; what that was."""
        node, now = self.node, self._clock()
        if pod.leaving:
            node.remove_pod(pod.sandbox, now)
            del self.pods[pod.uid]
            self.gone(pod)
            return "is gone"
        if pod.creating is not None:
            return self._end_creation(pod)
        if pod.finished:
            node.stop_pod(pod.sandbox, now)
            return "is complete"
        if pod.waits:
            pod.waits = False
            return "waits no more"
        box = node.sandboxes.get(pod.sandbox)
        if box is None or not box.ready:
            if box is not None:
                node.remove_pod(box.id, now)
            made = node.run_pod(pod.name, now, pod.template.namespace, pod.uid, pod.labels)
            pod.sandbox, pod.made, pod.done = made.id, {}, set()
            return f"has sandbox {made.id[:8]}"
        return self._next_container(pod)

    def _next_container(self, pod: Pod) -> str:
        for wanted in sorted(pod.wanted, key=lambda one: one.kind in ("main", "ephemeral")):
            if wanted.name in pod.done:
                continue
            container = self.node.containers.get(pod.made.get(wanted.name, ""))
            if container is None:
                return self._begin_creation(pod, wanted)
            if container.state is ContainerState.CREATED:
                self.node.start(container.id, self._clock())
                return f"{wanted.name} is started"
            if wanted.kind == "init":
                self.node.exit(container.id, self._clock())
                pod.done.add(wanted.name)
                return f"{wanted.name} is done"
            if container.state is ContainerState.EXITED and wanted.kind != "ephemeral":
                if pod.template.once:
                    continue
                self.node.remove(container.id, self._clock())
                return self._begin_creation(pod, wanted)
        return self._maybe_complete(pod)

    def _maybe_complete(self, pod: Pod) -> str:
        mains = [
            self.node.containers.get(pod.made.get(one.name, ""))
            for one in pod.wanted
            if one.kind == "main"
        ]
        if not pod.template.once or not all(mains):
            return "runs"
        running = [one for one in mains if one and one.state is not ContainerState.EXITED]
        if running:
            self.node.exit(running[0].id, self._clock())
            return f"{running[0].name} ends"
        pod.finished = True
        self.changed(pod)
        return "has succeeded"

    def _begin_creation(self, pod: Pod, wanted: Wanted) -> str:
        """The image is pulled, if need be, and the runtime begins to make the container."""
        try:
            image = self._present(wanted.image, wanted.policy)
            volume = self._present(wanted.volume, "IfNotPresent") if wanted.volume else None
        except Refused as refused:
            return f"{wanted.name} cannot be made: {refused}"
        pod.creating = (wanted, image, volume)
        return f"{wanted.name} is being made from {image.hex_id[:12]}"

    def _end_creation(self, pod: Pod) -> str:
        """The runtime has made the container, and lists it from now on."""
        assert pod.creating is not None
        (wanted, image, volume), pod.creating = pod.creating, None
        id_text = self.node.habits.id_text
        mounts = {}
        if volume is not None and self.node.habits.image_volumes:
            mounts = {"/data": id_text(volume.hex_id)}
        try:
            made = self.node.create(
                pod.sandbox,
                id_text(image.hex_id),
                self._clock(),
                wanted.name,
                mounts,
                {**pod.inside, "io.kubernetes.container.name": wanted.name},
            )
        except Refused as refused:
            return f"{wanted.name} was not made: {refused}"
        pod.made[wanted.name] = made.id
        return f"{wanted.name} is made, {made.id[:8]}"

    def _present(self, text: str, policy: str) -> Stored:
        """By the pull policy. Raises Refused."""
        found = None if policy == "Always" else self.found(text)
        if found is not None:
            return found
        if policy == "Never":
            raise Refused("ErrImageNeverPull", f"{text} is not here")
        return self._pulled(text)

    def _pulled(self, text: str) -> Stored:
        names = (text, f"{SHORT}/{text}", f"docker.io/{text}", f"docker.io/library/{text}")
        for name in names:
            if name in self.node.registry:
                return self.node.pull(name, self._clock())
        if "@sha256:" in text:
            return self.node.pull(text, self._clock())
        found = self.found(text)  # an id: nothing to pull
        if found is None:
            raise Refused("ErrImagePull", f"{text} is nowhere")
        return found
