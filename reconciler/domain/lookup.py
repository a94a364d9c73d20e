"""Find images by what people call them (a name or a part of one, an id or the beginning of one),
and name the pods and containers that use an image."""

from __future__ import annotations

from .graph import ImageGraph
from .inventory import Image
from .policy import Policy, Required
from .reference import InvalidReference, parse_reference
from .state import State


def images_meant(graph: ImageGraph, query: str) -> list[Image]:
    """Returns the images that a name, tag, digest, id or id prefix (3 digits or more) can mean. A
    name without a tag means `latest` if there is one, else every version here; the registry and
    the beginning of the path may be left out."""
    keys = graph.keys_named(query)
    if not keys:
        keys = frozenset(key for key, image in graph.images.items() if _matches(image, query))
    return [graph.images[key] for key in sorted(keys) if key in graph.images]


def _matches(image: Image, query: str) -> bool:
    plain = query.removeprefix("sha256:")
    if len(plain) >= 3 and image.key.startswith(plain):
        return True
    if query.startswith("sha256:") and len(plain) >= 12:
        return any(digest.partition("@")[2].startswith(query) for digest in image.digests)
    try:
        asked = parse_reference(query)
        names = [parse_reference(name) for name in image.names]
    except InvalidReference:
        return False
    if asked.tag:
        tail = "/" + query
        return any(f"/{name}".endswith(tail) for name in image.tags)
    if asked.digest:
        return False
    short = "/" + query.removeprefix("docker.io/").removeprefix("library/")
    return any(f"/{name.repository}".endswith(short) for name in names)


def missing_required(policy: Policy, graph: ImageGraph) -> tuple[Required, ...]:
    """Returns the patterns of `requiredImages` that match nothing here; only reported."""
    images = graph.images.values()
    return tuple(
        required
        for required in policy.required
        if not any(required.pattern.match(image) for image in images)
    )


def user_names(key: str, state: State) -> list[str]:
    """Names who uses an image: `namespace/pod container`, or `namespace/pod` for a pause image."""
    graph, names = state.graph, []
    for user in graph.users_of(key):
        container = graph.containers.get(user)
        if user in graph.strangers:
            names.append(f"container {user[:13]}, not of Kubernetes")
            continue
        sandbox = graph.sandboxes.get(container.sandbox_id if container else user)
        pod = sandbox.name if sandbox else "unknown pod"
        names.append(f"{pod} {container.name}" if container else pod)
    return sorted(names)
