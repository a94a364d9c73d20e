"""Protections of what is, will be or may be in use by the containers, sandboxes and pods on this
node."""

from __future__ import annotations

from ..context import Context, describe, pause_name, repositories_of
from ..humanize import and_more
from ..inventory import Image, Sandbox, is_full_id
from ..possible_uses import MOUNT, PossibleUse, repository_of
from .protection import Kind, Protection


def _in_use(image: Image, context: Context) -> str | None:
    graph = context.graph
    if graph.is_used(image.key):
        users = sorted(u for u in graph.users_of(image.key) if u in graph.containers)
        if users:
            return and_more([describe(graph.containers[users[0]], context)], users)
        strangers = sorted(u for u in graph.users_of(image.key) if u in graph.strangers)
        if strangers:
            text = f"container {strangers[0][:13]}, which CRI does not list (nerdctl, ctr)"
            return and_more([text], strangers)
    if image.key not in context.asked:
        return None
    asking = sorted(graph.asking_for(image))
    if not asking:
        return None
    first = graph.containers[asking[0]]
    text = f"{describe(first, context)} asked for {first.image}, which means this image by now"
    return and_more([text], asking)


IN_USE = Protection(
    Kind.IN_USE,
    promise="S1",
    keeps="a container in any state was made from it, mounts it, or asked for it by a name that "
    "it has now",
    check=_in_use,
    otherwise="no container refers to it",
    because="in use",
    let_go="delete the pods or containers that use it",
)


def _awaited(image: Image, context: Context) -> str | None:
    if context.graph.is_used(image.key):
        return None  # its container exists already
    needed = context.awaited.get(image.key)
    if needed is not None:
        pod, need = needed
        if context.has_begun(pod):
            return f"pod {pod.name} will need it when it starts again ({need.by})"
        return f"pod {pod.name} is starting and will need it ({need.by})"
    twin = context.used_by_twins.get(image.key)
    if twin is None:
        return None
    sandbox, container = twin
    return f"pod {sandbox.name} may need it: pods of its template use it (container {container})"


AWAITED = Protection(
    Kind.AWAITED,
    promise="S10",
    keeps="a pod bound here has not made a container of it yet, and will, or may make one again",
    check=_awaited,
    otherwise="no pod bound here is known to wait for it",
    because="awaited",
    let_go="delete the pods that will need it, or wait until they are complete",
    applies=lambda context: bool(context.awaited or context.used_by_twins),
)


def _sandbox(image: Image, context: Context) -> str | None:
    graph = context.graph
    if graph.is_used(image.key):
        users = sorted(u for u in graph.users_of(image.key) if u in graph.sandboxes)
        if users:
            one = f"pause image of sandbox {graph.sandboxes[users[0]].name} ({users[0][:13]})"
            return and_more([one], users)
    if image.key in context.configured_pause:
        configured = context.state.runtime.configured_pause
        return f"the runtime's own configuration names it as sandbox image: {configured}"
    names = context.state.as_remembered(image).names
    pause = pause_name(image, names, context.state)
    if pause is not None:
        return f"{pause} is a known name of a sandbox image"
    if not repositories_of(names).isdisjoint(context.pause_repositories):
        name = next(one for one in names if repository_of(one) in context.pause_repositories)
        return f"{name} may be what a sandbox runs on: the tag it was asked for may have moved"
    return None


SANDBOX = Protection(
    Kind.SANDBOX,
    promise="S1, S3",
    keeps="a sandbox runs on it or on one of its repository, or it is known as a pause image",
    check=_sandbox,
    otherwise="no sandbox runs on it, and it is no known pause image",
    because="a sandbox image",
    let_go="nothing should; every pod needs its pause image",
)


def _uncertain(image: Image, context: Context) -> str | None:
    if image.key in context.graph.dirty:
        return "an event named it since the last listing"
    use = context.possible_uses.get(image.key)
    if use is not None:
        return _in_words(use, context)
    return None if is_full_id(image.id) else "listed under an id that is not a full image id"


def _in_words(use: PossibleUse, context: Context) -> str:
    subject = use.subject
    if isinstance(subject, Sandbox):
        one = f"sandbox {subject.name} ({subject.id[:13]})"
        return f"may be the pause image of {one}, which the runtime does not report"
    one = describe(subject, context)
    if use.way == MOUNT:
        return f"may be mounted by {one}: the runtime does not report what it mounts"
    return f"may be the image of {one}, whose image is unknown"


UNCERTAIN = Protection(
    Kind.UNCERTAIN,
    promise="S6",
    keeps="something about its use is not known",
    check=_uncertain,
    otherwise="nothing about its use is unknown",
    because="uncertain",
    let_go="see the doubt end: `reconciler plan` says what is not known",
)
