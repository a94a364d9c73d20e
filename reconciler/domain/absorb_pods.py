"""Record what listings and events show about pods: which are starting, and which images the pods of
a template use."""

from __future__ import annotations

from .inventory import Container, Listing, Sandbox
from .ledger import Used
from .names import name_key
from .starting_pods import LONGEST_START
from .state import State
from .steps import STEP, Steps


def note_starts(state: State, listing: Listing) -> None:
    """Records the sandboxes that are new, and those in which a container was made. In the first
    listing their own creation times count: they may have existed before this daemon started."""
    first = state.runtime.listed_at is None
    for sandbox in listing.sandboxes:
        if state.graph.is_new(sandbox.id):
            at = min(sandbox.created_at, listing.ended_at) if first else listing.ended_at
            if at + LONGEST_START > listing.ended_at:
                state.pods.starts.add(sandbox, at)
    for container in listing.containers:
        at = min(container.created_at, listing.ended_at) if first else listing.ended_at
        state.pods.starts.container_made(container.sandbox_id, at)


def note_templates(state: State, listing: Listing) -> Steps[None]:
    """Records the images of containers that are not recorded in full yet: earlier lists may have
    lacked their sandbox or an image for a moment."""
    for sandbox in listing.sandboxes:
        if sandbox.template is not None:
            state.pods.templates.see(sandbox.template, listing.ended_at)
    noted = state.pods.templates.noted
    noted.intersection_update(state.graph.containers)
    fresh = [one for one in listing.containers if one.id not in noted]
    fresh.sort(key=lambda container: container.created_at)
    for number, container in enumerate(fresh, 1):
        note_template(state, container, listing.ended_at)
        if number % STEP == 0:
            yield


def note_template(
    state: State, container: Container, at: float, in_event: Sandbox | None = None
) -> None:
    """Records which images a container uses, under its pod's template: by key, and by the tags that
    they have now, since other pods of the template ask for them by name. `in_event`: the sandbox
    that its event carries."""
    graph, noted = state.graph, state.pods.templates.noted
    sandbox = graph.sandboxes.get(container.sandbox_id) or in_event
    if sandbox is None or sandbox.template is None:
        return
    used_keys = graph.uses_of(container.id) or graph.meant_by(container)
    keys = sorted(key for key in used_keys if key in graph.images)
    tags = [name_key(tag) for key in keys for tag in graph.images[key].tags]
    known = graph.containers.get(container.id, container)
    asked = known.volumes is not None or not state.has_image_volumes
    whole = asked and graph.is_certain(known) and len(keys) == len(used_keys)
    if keys:
        used = Used(container.created_at, (*keys, *tags))
        state.pods.templates.note(sandbox.template, container.name, used, at, whole=whole)
    if whole:
        noted.add(container.id)
    else:
        noted.discard(container.id)
