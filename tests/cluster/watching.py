"""What happens to the pods of a scenario, as the API server reports it, with times of our own.

Kubernetes' times are whole seconds; times here are when a change was received from a watch, which
is a few milliseconds after it was made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.real.images import until

from .api import Api, Json

MAIN = "spec.containers{main}"  # as an event names the container of our pods
EVENTS = "/api/v1/namespaces/default/events"
PODS = "/api/v1/namespaces/default/pods"


@dataclass
class Story:
    """One pod: what it asks for, and what became of it. Times are seconds since 1970."""

    name: str
    image: str
    direct: bool  # made with its node's name, so that no scheduler is asked
    created_at: float  # right before it was made
    bound_at: float | None = None
    running_at: float | None = None
    ended_at: float | None = None
    pulls: dict[str, int] = field(default_factory=dict)  # by container
    started_seen: bool = False  # kubelet's event that it started, which comes after all others
    troubles: set[str] = field(default_factory=set)  # CreateContainerError, ErrImagePull, ...

    @property
    def pulled(self) -> int:
        return sum(self.pulls.values())


class Watcher:
    """Watches pods and events of the default namespace in two threads until the block ends."""

    def __init__(self, api: Api) -> None:
        self._api, self._over = api, threading.Event()
        self.stories: dict[str, Story] = {}
        self._threads = [
            threading.Thread(target=self._follow, args=(PODS, self._pod), daemon=True),
            threading.Thread(target=self._follow, args=(EVENTS, self._event), daemon=True),
        ]

    def __enter__(self) -> Watcher:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()  # the threads end with their next change, or with the process

    def make(self, pod: Json) -> Story:
        """Makes a pod and follows it."""
        name, spec = pod["metadata"]["name"], pod["spec"]
        image, direct = spec["containers"][-1]["image"], "nodeName" in spec
        story = self.stories[name] = Story(name, image, direct, time.time())
        self._api.create(PODS, pod)
        if direct:
            story.bound_at = story.bound_at or time.time()
        return story

    def wait_running(self, stories: Iterable[Story], seconds: float) -> list[Story]:
        """Waits until all of them run or have ended; those that still do not."""
        followed = list(stories)

        def left() -> list[Story]:
            return [one for one in followed if one.running_at is None and one.ended_at is None]

        try:
            until(lambda: not left(), seconds, "")
        except AssertionError:
            return left()
        return []

    def wait_for_events(self, stories: Iterable[Story], seconds: float = 90.0) -> None:
        """Waits for all events of pods that run: kubelet sends one after the other, and is late
        with them when many pods start at once."""
        running = [one for one in stories if one.running_at is not None]
        late = "kubelet does not report that pods started"
        until(lambda: all(one.started_seen for one in running), seconds, late)

    def _follow(self, path: str, handle: object) -> None:
        assert callable(handle)
        for at, kind, what in self._api.watch(path, self._over):
            handle(at, kind, what)

    def _pod(self, at: float, kind: str, pod: Json) -> None:
        story = self.stories.get(pod["metadata"]["name"])
        if story is None:
            return
        if pod["spec"].get("nodeName") and story.bound_at is None:
            story.bound_at = at
        status = pod.get("status", {})
        mains = status.get("containerStatuses", [])
        for one in [*mains, *status.get("initContainerStatuses", [])]:
            reason = one["state"].get("waiting", {}).get("reason", "")
            if reason not in {"", "ContainerCreating", "PodInitializing"}:
                story.troubles.add(reason)
        if mains and all("running" in one["state"] for one in mains) and story.running_at is None:
            story.running_at = at
        if status.get("phase") in {"Succeeded", "Failed"} or kind == "DELETED":
            story.ended_at = story.ended_at or at

    def _event(self, at: float, kind: str, event: Json) -> None:
        story = self.stories.get(event["involvedObject"].get("name", ""))
        if story is None or event["involvedObject"].get("kind") != "Pod" or kind == "DELETED":
            return
        container = event["involvedObject"].get("fieldPath", "")
        if event["reason"] == "Pulling":
            story.pulls[container] = max(story.pulls.get(container, 0), event.get("count") or 1)
        if event["reason"] == "Started" and container == MAIN:
            story.started_seen = True
        if event["reason"] == "Failed" and "failed to create containerd" in event["message"]:
            story.troubles.add("CreateContainerError")  # over too soon for the pod's status


def pod(
    name: str,
    image: str,
    *,
    direct: bool = True,
    policy: str = "IfNotPresent",
    init: tuple[str, float] | None = None,
    seconds: float | None = None,
    secret: str | None = None,
    labels: dict[str, str] | None = None,
) -> Json:
    """A pod of one container; `init`: an image and how many seconds its init container runs;
    `seconds`: the main container ends after them, and is not started again; `secret`: mounted,
    so that nothing starts before it is there."""
    main: Json = {"name": "main", "image": image, "imagePullPolicy": policy}
    spec: Json = {"containers": [main], "terminationGracePeriodSeconds": 1}
    if direct:
        spec["nodeName"] = "node1"
    if seconds is not None:
        main["command"] = ["/bin/sleep", str(seconds)]
        spec["restartPolicy"] = "Never"
    if init is not None:
        first = {"name": "init", "image": init[0], "command": ["/bin/sleep", str(init[1])]}
        spec["initContainers"] = [first | {"imagePullPolicy": "IfNotPresent"}]
    if secret is not None:
        spec["volumes"] = [{"name": "secret", "secret": {"secretName": secret}}]
        main["volumeMounts"] = [{"name": "secret", "mountPath": "/secret"}]
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}
