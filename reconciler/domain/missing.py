"""What should be here and is not: images that containers run on, and those that pods wait for and
kubelet may not pull. A sentence each: which image, who needs it, who removed it, what to do."""

from __future__ import annotations

import datetime as dt
import shlex

from .humanize import and_more
from .inventory import Container, is_full_id
from .removing import removed_by_us
from .state import State


def missing_in_use(state: State) -> list[str]:
    """Images that containers run on, or sandboxes, and that no listing holds any more."""
    graph = state.graph
    gone = sorted(key for key in graph.used_keys() if key not in graph.images)
    return [_in_use(state, key) for key in gone]


def missing_awaited(state: State, now: float) -> list[str]:
    """Images that a pod bound here needs, that kubelet may not pull (`imagePullPolicy: Never`), and
    that are not here."""
    if state.runtime.listed_at is None:
        return []
    return [
        f"pod {pod.name} cannot start {need.by}: {need.image} is not here, and its "
        "imagePullPolicy is Never; import or pull the image on this node, or change the policy"
        for pod, need in state.pods.awaited.needs(now)
        if need.never_pulled and not state.images_meant(need.image)
    ]


def _in_use(state: State, key: str) -> str:
    users = sorted(state.graph.users_of(key))
    containers = [state.graph.containers[one] for one in users if one in state.graph.containers]
    names = _names(state, key) or [
        one.image for one in containers if one.image and not is_full_id(one.image)
    ]
    text = (
        f"{names[0] if names else 'an image without a name'} (id {key[:13]}) is not here any more"
    )
    if containers:
        places = [_place(one, state) for one in containers]
        text += f", and {and_more(places[:1], places)} was made from it or mounts it"
    elif strangers := [user for user in users if user in state.graph.strangers]:
        places = [f"container {user[:13]}, which CRI does not list," for user in strangers]
        text += f", and {and_more(places[:1], places)} was made from it"
    else:
        boxes = [state.graph.sandboxes[one].name for one in users if one in state.graph.sandboxes]
        text += f", and the sandbox of pod {and_more(boxes[:1], boxes)} runs on it"
    pulled = next((name for name in names if "@" in name), names[0] if names else None)
    what = (
        f"`crictl pull {shlex.quote(pulled)}` brings it back"
        if pulled
        else "restart the pod to pull it"
    )
    return f"{text}; {_by_whom(state, key)}; what runs goes on, a restart needs it: {what}"


def _place(container: Container, state: State) -> str:
    sandbox = state.graph.sandboxes.get(container.sandbox_id)
    pod = f" of pod {sandbox.name}" if sandbox else ""
    return f"container {container.name}{pod}"


def _names(state: State, key: str) -> list[str]:
    """What the image was called: by a removal's note (digests too), or by its record."""
    removal, gone = state.removals.records.get(key), state.memory.gone.get(key)
    return [*(removal.names if removal else ()), *(gone.names if gone else ())]


def _by_whom(state: State, key: str) -> str:
    if removed_by_us(state, key):
        began = state.wall(state.removals.records[key].begun_at)
        at = dt.datetime.fromtimestamp(began, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            f"this daemon removed it at {at}, before anything reported that use: "
            f"`reconciler history --image {key[:13]}` says why"
        )
    if key in state.memory.gone:
        return "this daemon did not remove it: kubelet, crictl or another cleaner on this node did"
    return "it was never listed while this daemon ran, so somebody else removed it"
