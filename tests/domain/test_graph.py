"""Who uses what: by listings, by events, in every form that runtimes give."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.domain.graph import ImageGraph
from reconciler.domain.inventory import (
    Container,
    ContainerEvent,
    ContainerState,
    EventKind,
    Image,
    Listing,
    Sandbox,
)
from tests.builders import T0, container, digest, image, sandbox, volume

APP = image("app:v1")
OTHER = image("other:v1")


def graph_of(*containers: Container, images: tuple[Image, ...] = (APP, OTHER)) -> ImageGraph:
    graph = ImageGraph()
    graph.replace(Listing(T0, T0, images, containers, (sandbox(pause=()),)))
    return graph


def event(kind: EventKind, subject: Container, *inside: Container) -> ContainerEvent:
    return ContainerEvent(subject.id, kind, T0, sandbox(pause=None), inside)


def test_a_container_in_any_state_uses_its_image() -> None:
    """Exited containers hold their image as running ones do."""
    for state in ContainerState:
        assert graph_of(replace(container("c", APP), state=state)).is_used(APP.key)


def test_image_id_is_believed_before_image_ref() -> None:
    """CRI-O's image_ref is a name that may mean another image by now; image_id cannot."""
    one = replace(container("c", OTHER.digests[0]), image_id=APP.key)
    graph = graph_of(one)
    assert graph.is_used(APP.key)
    assert not graph.is_used(OTHER.key)


def test_a_digest_name_is_looked_up() -> None:
    """Events of containerd give a digest name where the list gives the id."""
    assert graph_of(container("c", APP.digests[0])).is_used(APP.key)


def test_a_tag_alone_resolves_nothing() -> None:
    """A tag may have moved since the container was made: its image is unknown."""
    graph = graph_of(container("c", APP.tags[0]))
    assert not graph.is_used(APP.key)
    assert graph.unresolved


def test_a_full_id_that_no_listing_holds_is_certain() -> None:
    """That image is gone; it raises no doubt about others."""
    assert not graph_of(container("c", f"sha256:{digest('gone')}")).unresolved


def test_a_created_event_makes_a_use_at_once() -> None:
    """Between two listings an event is all that protects."""
    graph = graph_of()
    made = container("c", APP.digests[0])
    graph.apply(event(EventKind.CREATED, made, made), T0)
    assert graph.is_used(APP.key)
    assert APP.key in graph.dirty


def test_a_deleted_event_leaves_the_image_in_doubt_until_the_next_listing() -> None:
    """Events end uses, but only a listing lets an image go."""
    made = container("c", APP)
    graph = graph_of(made)
    graph.apply(event(EventKind.DELETED, made), T0)
    assert not graph.is_used(APP.key)
    assert APP.key in graph.dirty
    graph.replace(Listing(T0, T0, (APP, OTHER), (), ()))
    assert not graph.dirty


def test_an_event_without_statuses_is_not_enough() -> None:
    """CRI-O sends empty payloads for pods without labels: a listing must show it."""
    graph = graph_of()
    graph.apply(event(EventKind.CREATED, container("c", APP)), T0)
    assert graph.needs_relist


def test_an_old_payload_does_not_replace_what_is_known_better() -> None:
    """A late event names the image by digest and an earlier state; the id and state stay."""
    known = replace(container("c", APP), state=ContainerState.EXITED)
    graph = graph_of(known)
    late = replace(known, image_ref=OTHER.digests[0], state=ContainerState.RUNNING)
    graph.apply(event(EventKind.STARTED, late, late), T0)
    assert graph.containers[known.id] == known
    assert not graph.is_used(OTHER.key)


def test_an_image_volume_stays_a_use_after_its_tag_moved() -> None:
    """The mount says a tag; the image it meant stays mounted when the tag means another."""
    mounts = replace(container("c", OTHER), volumes=(volume(APP.tags[0]),))
    graph = graph_of(mounts)
    assert graph.is_used(APP.key)
    moved = replace(APP, tags=())
    newer = replace(image("app:v2"), tags=APP.tags)
    graph.replace(Listing(T0, T0, (moved, newer, OTHER), (mounts,), ()))
    assert graph.is_used(moved.key)


def test_an_image_volume_is_known_by_the_digest_in_its_path() -> None:
    """A tag that moved before we first looked: the manifest's digest still identifies the old
    image."""
    manifest = APP.digests[0].partition("@")[2]
    moved = replace(APP, tags=())
    newer = replace(image("app:v2"), tags=APP.tags)
    mounts = replace(container("c", OTHER), volumes=(volume(APP.tags[0], manifest),))
    assert graph_of(mounts, images=(moved, newer, OTHER)).is_used(moved.key)


def test_a_manifest_is_the_same_image_under_every_repository() -> None:
    """An image tagged on the node keeps its digest under the first repository alone: what is
    mounted by the other name, which moved since, is that image all the same."""
    manifest = APP.digests[0].partition("@")[2]
    newer = replace(image("app:v2"), tags=("mine.example/tool:v1",))
    mounts = replace(container("c", OTHER), volumes=(volume(newer.tags[0], manifest),))
    assert graph_of(mounts, images=(APP, newer, OTHER)).is_used(APP.key)
    assert graph_of(container("c", f"mine.example/tool@{manifest}")).is_used(APP.key)


def test_one_known_volume_does_not_resolve_another() -> None:
    """Of two volumes one is unknown: the container stays in doubt, listing after listing."""
    volumes = (volume(APP.tags[0]), volume("reg.example/never-heard-of:v1"))
    mounts = replace(container("c", OTHER), volumes=volumes)
    graph = graph_of(mounts)
    graph.replace(Listing(T0, T0, (APP, OTHER), (mounts,), ()))
    assert mounts.id in graph.unresolved


def test_a_sandbox_keeps_the_pause_image_that_its_name_meant() -> None:
    """The pause tag moves to a new image while pods run on the old one."""
    pause = replace(image("pause:3.10"), tags=("reg.example/pause:3.10",))
    graph = ImageGraph()
    graph.replace(Listing(T0, T0, (pause,), (), (sandbox(),)))
    newer = replace(image("pause:new"), tags=pause.tags)
    graph.replace(Listing(T0, T0, (replace(pause, tags=()), newer), (), (sandbox(),)))
    assert graph.is_used(pause.key)


def test_a_list_that_lacks_a_sandbox_for_a_moment_does_not_lose_its_pause_image() -> None:
    """The list was empty once, and then the pause tag moved: only memory identifies the image."""
    pause = replace(image("holder:1"), tags=("reg.example/pause:3.10",))
    graph = ImageGraph()
    graph.replace(Listing(T0, T0, (pause,), (), (sandbox(),)))
    newer = replace(image("pause:new"), tags=pause.tags)
    images = (replace(pause, tags=()), newer)
    graph.replace(Listing(T0, T0, images, (), ()))
    assert not graph.is_used(pause.key)
    graph.replace(Listing(T0, T0, images, (), (sandbox(pause=None),)))
    graph.put_sandbox(sandbox())
    assert graph.is_used(pause.key)


def test_a_list_that_lacks_a_container_for_a_moment_does_not_lose_what_it_mounts() -> None:
    """The same for an image volume whose tag has moved since it was reported."""
    mounts = replace(container("c", OTHER), volumes=(volume(APP.tags[0]),))
    graph = graph_of(mounts)
    moved, newer = replace(APP, tags=()), replace(image("app:v2"), tags=APP.tags)
    graph.replace(Listing(T0, T0, (moved, newer, OTHER), (), ()))
    graph.replace(Listing(T0, T0, (moved, newer, OTHER), (mounts,), ()))
    assert graph.is_used(moved.key)


IMAGES = [image(f"app{n}:v1") for n in range(4)]
CONTAINERS = st.builds(
    lambda name, of, state: replace(container(f"c{name}", IMAGES[of]), state=state),
    st.integers(0, 5),
    st.integers(0, 3),
    st.sampled_from(ContainerState),
)
LISTS = st.lists(CONTAINERS, max_size=6, unique_by=lambda one: one.id)
EVENTS = st.lists(st.tuples(st.sampled_from(EventKind), CONTAINERS), max_size=12)


def _picture(graph: ImageGraph) -> dict[str, frozenset[str]]:
    return {one.key: graph.users_of(one.key) for one in IMAGES}


@settings(max_examples=200)
@given(LISTS, EVENTS, LISTS)
def test_a_listing_makes_the_graph_what_it_says_whatever_events_said(
    before: list[Container], events: list[tuple[EventKind, Container]], after: list[Container]
) -> None:
    """Lost, doubled or reordered events leave no trace once a listing came in."""
    graph, fresh = ImageGraph(), ImageGraph()
    graph.replace(Listing(T0, T0, tuple(IMAGES), tuple(before), ()))
    for kind, subject in events:
        graph.apply(event(kind, subject, subject), T0)
    listing = Listing(T0, T0, tuple(IMAGES), tuple(after), ())
    graph.replace(listing)
    fresh.replace(listing)
    assert _picture(graph) == _picture(fresh)
    assert graph.containers.keys() == fresh.containers.keys()


@given(LISTS, st.sampled_from(EventKind), CONTAINERS)
def test_an_event_applied_twice_is_as_once(
    before: list[Container], kind: EventKind, subject: Container
) -> None:
    """Runtimes replay events; a replay changes nothing more."""
    once, twice = ImageGraph(), ImageGraph()
    for graph, times in ((once, 1), (twice, 2)):
        graph.replace(Listing(T0, T0, tuple(IMAGES), tuple(before), ()))
        for _ in range(times):
            graph.apply(event(kind, subject, subject), T0)
    assert _picture(once) == _picture(twice)
    assert once.dirty == twice.dirty


def test_a_sandbox_event_is_distinguished_from_a_containers() -> None:
    """A sandbox's end is no container's end: only the sandbox goes."""
    graph = graph_of(container("c", APP))
    box = sandbox(pause=None)
    graph.apply(ContainerEvent(box.id, EventKind.DELETED, T0, box), T0)
    assert box.id not in graph.sandboxes
    assert graph.is_used(APP.key)


def test_a_sandbox_that_is_new_must_be_asked_for_its_pause_image() -> None:
    """No list contains the pause image; until it is asked for, that is known to be unknown."""
    graph = ImageGraph()
    graph.replace(Listing(T0, T0, (), (), (Sandbox("b" * 64, "x/y", T0),)))
    assert graph.unasked_sandboxes == {"b" * 64}
