"""Pods of one template ask for the same images: what one used is kept for the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.domain.absorb import absorb
from reconciler.domain.decision import decide
from reconciler.domain.facts import ContainerChanged, VolumesReported
from reconciler.domain.inventory import (
    Container,
    ContainerEvent,
    ContainerState,
    EventKind,
    Image,
    Sandbox,
    Template,
)
from reconciler.domain.ledger import Used
from reconciler.domain.state import State
from reconciler.domain.templates import (
    CONTAINERS_KEPT,
    SIMILAR_KEPT,
    TEMPLATES_KEPT,
    Templates,
    template_of,
)
from tests.builders import (
    CONTAINERD_2,
    DAY,
    T0,
    container,
    image,
    listed,
    sandbox,
    state_of,
    usage,
    volume,
)

INIT, MAIN, OTHER, MODEL = (image(name) for name in ("init:v1", "app:v1", "other:v1", "model:v1"))
WEB = Template("default/pod-template-hash=7d4b9", exact=True)
FIRST, SECOND = (sandbox(name, template=WEB) for name in ("web-1", "web-2"))
NOW = T0 + DAY


def made(name: str, of: Image, box: Sandbox, **fields: Any) -> Container:
    one = container(f"{name} {box.name}", of)
    return replace(one, name=name, sandbox_id=box.id, **fields)


def free(state: State, now: float = NOW + DAY) -> set[str]:
    return {one.image.tags[0] for one in decide(state, state.operator.policy, now).candidates}


def ran_before() -> State:
    """A pod with an init container and a main one ran here, and is gone."""
    state = state_of(
        (INIT, MAIN, OTHER), (made("wait", INIT, FIRST), made("app", MAIN, FIRST)), (FIRST,)
    )
    absorb(listed((INIT, MAIN, OTHER), (), (), at=T0 + 60), state)
    absorb(listed((INIT, MAIN, OTHER), (), (), at=NOW), state)
    return state


@pytest.mark.parametrize(
    ("pod", "labels", "name", "exact"),
    [
        ("web-7d4b9-x2x4z", {"pod-template-hash": "7d4b9"}, "shop/pod-template-hash=7d4b9", True),
        (
            "db-0",
            {"controller-revision-hash": "db-5f"},
            "shop/controller-revision-hash=db-5f",
            True,
        ),
        ("mig-x2x4z", {"job-name": "mig"}, "shop/job-name=mig", True),
        ("mig-x2x4z", {"batch.kubernetes.io/job-name": "mig"}, "shop/job-name=mig", True),
        ("b-29384756-x2x4z", {"job-name": "b-29384756"}, "shop/job-name=b-*", False),
        ("web-7d4b9c6f8d-x2x4z", {}, "shop/web-*", False),
        ("db-12", {}, "shop/db-*", False),
        ("kube-apiserver-node-a", {}, "shop/kube-apiserver-node-a", False),
        ("debug", {"app": "x"}, "shop/debug", False),
    ],
)
def test_what_a_pod_was_made_from_is_known_by_its_labels_or_by_its_name(
    pod: str, labels: dict[str, str], name: str, exact: bool
) -> None:
    """Deployments, StatefulSets, DaemonSets, Jobs, CronJobs, and pods that nobody labelled."""
    assert template_of("shop", pod, labels) == Template(name, exact)


def test_the_main_image_stays_while_a_twins_init_container_runs() -> None:
    """A Deployment's pod ran here before. Its twin is in its init container, which may take
    minutes, and nothing uses the main image yet."""
    state = ran_before()
    assert free(state) == {"reg.example/init:v1", "reg.example/app:v1", "reg.example/other:v1"}
    twin = (made("wait", INIT, SECOND),)
    absorb(listed((INIT, MAIN, OTHER), twin, (SECOND,), at=NOW + 60), state)
    assert free(state) == {"reg.example/other:v1"}
    (kept,) = [k for k in decide(state, state.operator.policy, NOW + DAY).kept if k.image == MAIN]
    assert kept.protections[0].detail == (
        "pod default/web-2 may need it: pods of its template use it (container app)"
    )


def test_a_twin_that_has_made_no_container_yet_keeps_all_that_the_first_one_used() -> None:
    """From the moment its sandbox is reported."""
    state = ran_before()
    event = ContainerEvent(SECOND.id, EventKind.CREATED, NOW, SECOND)
    absorb(ContainerChanged(event, NOW + 1), state)
    absorb(usage(90, NOW + 1), state)
    assert free(state) == {"reg.example/other:v1"}


def test_a_pod_that_is_complete_keeps_nothing_for_its_twins() -> None:
    """kubelet stops the sandbox of a finished job, and leaves it there for days."""
    state = ran_before()
    done = replace(SECOND, ready=False)
    absorb(listed((INIT, MAIN, OTHER), (), (done,), at=NOW + 60), state)
    absorb(listed((INIT, MAIN, OTHER), (), (done,), at=NOW + 90), state)
    assert free(state) == {"reg.example/init:v1", "reg.example/app:v1", "reg.example/other:v1"}


def test_an_event_that_says_a_pod_is_complete_or_gone_frees_nothing() -> None:
    """Events come late and replayed: only a listing takes a reason away."""
    state = ran_before()
    absorb(listed((INIT, MAIN, OTHER), (), (SECOND,), at=NOW + 60), state)
    absorb(listed((INIT, MAIN, OTHER), (), (SECOND,), at=NOW + 90), state)
    done = replace(SECOND, ready=False)
    for kind in (EventKind.STOPPED, EventKind.DELETED):
        event = ContainerEvent(SECOND.id, kind, NOW, done)
        absorb(ContainerChanged(event, NOW + 91), state)
        assert free(state) == {"reg.example/other:v1"}


def test_a_template_is_remembered_by_names_too() -> None:
    """The tag that the template asks for moved: the twin will be made from what it means now."""
    state = ran_before()
    fresh = replace(image("app:v1-new"), tags=MAIN.tags)
    old = replace(MAIN, tags=("reg.example/app:old",))
    for at in (NOW + 60, NOW + 90):
        absorb(listed((INIT, old, fresh, OTHER), (), (SECOND,), at=at), state)
    assert free(state) == {"reg.example/other:v1"}


def test_image_volumes_are_remembered_too() -> None:
    """A pod mounts a model; its twin will mount it as well."""
    images = (MAIN, MODEL, OTHER)
    first = made("app", MAIN, FIRST, volumes=None)
    state = state_of(images, (first,), (FIRST,))
    absorb(VolumesReported(T0, first.id, (volume(MODEL.id),)), state)
    for at in (T0 + 60, NOW):
        absorb(listed(images, (), (SECOND,), at=at), state)
    absorb(listed(images, (), (SECOND,), at=NOW + 60), state)
    assert free(state) == {"reg.example/other:v1"}


def test_of_pods_that_are_only_named_alike_the_last_one_counts() -> None:
    """A cron job's image changes with the weeks: what it used a year ago is not kept for it."""
    old, new = image("backup:v1"), image("backup:v2")
    boxes = [sandbox(f"backup-{n}") for n in (1, 2, 3)]
    state = state_of((old, new, OTHER), (made("job", old, boxes[0]),), (boxes[0],))
    later = made("job", new, boxes[1], created_at=T0 + 60)
    absorb(listed((old, new, OTHER), (later,), (boxes[1],), at=T0 + 60), state)
    for at in (T0 + 120, NOW):
        absorb(listed((old, new, OTHER), (), (boxes[2],), at=at), state)
    assert free(state) == {"reg.example/backup:v1", "reg.example/other:v1"}


def test_an_init_container_that_came_and_went_between_two_listings_is_remembered() -> None:
    """Its event reported it, and a listing showed its image only later."""
    state = state_of((MAIN, OTHER), (), (FIRST,))
    short = made("wait", INIT, FIRST, state=ContainerState.RUNNING)
    absorb(
        ContainerChanged(ContainerEvent(short.id, EventKind.CREATED, T0, FIRST, (short,)), T0),
        state,
    )
    absorb(ContainerChanged(ContainerEvent(short.id, EventKind.DELETED, T0, FIRST), T0 + 1), state)
    for at in (T0 + 2, NOW):
        absorb(listed((INIT, MAIN, OTHER), (made("app", MAIN, FIRST),), (FIRST,), at=at), state)
    assert free(state) == {"reg.example/other:v1"}


def test_what_is_remembered_is_bounded() -> None:
    """A node that lives for years sees many templates, and a hostile pod has many containers."""
    templates = Templates()
    for number in range(TEMPLATES_KEPT + 50):
        templates.note(Template(f"t{number}", True), "app", Used(T0, ("k",)), T0 + number)
    assert len(templates.records) == TEMPLATES_KEPT
    assert "t49" not in templates.records
    assert {"t0", "t49"} <= templates.changed
    for number in range(CONTAINERS_KEPT + 10):
        templates.note(WEB, f"c{number}", Used(T0 + number, ("k",)), T0 + DAY)
    assert len(templates.records[WEB.name].used) == CONTAINERS_KEPT
    assert "c9" not in templates.records[WEB.name].used
    alike = Template("shop/run-*", exact=False)
    for number in range(SIMILAR_KEPT + 1):
        templates.note(alike, f"c{number}", Used(T0 + number, ("k",)), T0 + DAY)
    assert sorted(templates.records[alike.name].used) == [f"c{n}" for n in range(1, 9)]
    templates.note(Template("new", True), "app", Used(T0, ("k",)), T0 + 90 * DAY)
    assert list(templates.records) == ["new"]


def test_a_deployment_that_runs_for_months_is_not_forgotten() -> None:
    """Nothing new is reported of it in all that time; its next pod asks for what the first one
    did."""
    state = state_of((INIT, MAIN, OTHER), (made("app", MAIN, FIRST),), (FIRST,))
    day = T0
    for number in range(100):
        day = T0 + number * DAY
        other = sandbox(f"other{number}x")
        job = made("job", OTHER, other, created_at=day)
        absorb(
            listed((INIT, MAIN, OTHER), (made("app", MAIN, FIRST), job), (FIRST, other), at=day),
            state,
        )
    for after in (60, 90):
        absorb(listed((INIT, MAIN, OTHER), (), (SECOND,), at=day + after), state)
    assert "reg.example/app:v1" not in free(state, day + DAY)


def test_what_is_reported_in_part_takes_nothing_away() -> None:
    """A twin's container whose image is unknown, or that a list lacks, mounts a model: what
    the one before it was made from is still what the next one will be made from."""
    images = (MAIN, MODEL, OTHER)
    state = state_of(images, (made("app", MAIN, FIRST),), (FIRST,))
    unresolved = replace(made("app", MAIN, SECOND), image_ref="", created_at=T0 + 10)
    unresolved = replace(unresolved, image="x", volumes=(volume(MODEL.id),))
    absorb(listed(images, (unresolved,), (SECOND,), at=T0 + 10), state)
    for at in (T0 + 60, NOW):
        absorb(listed(images, (), (SECOND,), at=at), state)
    absorb(listed(images, (), (SECOND,), at=NOW + 60), state)
    assert free(state) == {"reg.example/other:v1"}


def test_the_same_container_reported_again_in_part_takes_nothing_away() -> None:
    """A list lacks what it mounts for a moment, and then it is gone."""
    images = (MAIN, MODEL, OTHER)
    mounts = (volume(MODEL.id),)
    first = made("app", MAIN, FIRST, volumes=mounts)
    twin = made("app", MAIN, SECOND, created_at=T0 + 5, volumes=mounts)
    state = state_of(images, (first,), (FIRST,), version=CONTAINERD_2)
    absorb(listed(images, (first, twin), (FIRST, SECOND), at=T0 + 5, version=CONTAINERD_2), state)
    absorb(listed((MAIN, OTHER), (twin,), (SECOND,), at=T0 + 6, version=CONTAINERD_2), state)
    absorb(VolumesReported(T0 + 6, twin.id, mounts), state)
    for at in (T0 + 60, NOW, NOW + 60):
        absorb(listed(images, (), (SECOND,), at=at, version=CONTAINERD_2), state)
    assert free(state) == {"reg.example/other:v1"}


def test_all_containers_that_an_event_carries_are_remembered() -> None:
    """The event of one reported the other, whose own was lost, and which is gone by the next
    listing."""
    images = (INIT, MAIN, OTHER)
    state = state_of(images, (), (FIRST,))
    short, main = made("wait", INIT, FIRST), made("app", MAIN, FIRST)
    event = ContainerEvent(main.id, EventKind.CREATED, T0, FIRST, (short, main))
    absorb(ContainerChanged(event, T0), state)
    for at in (T0 + 2, NOW):
        absorb(listed(images, (main,), (FIRST,), at=at), state)
    assert free(state) == {"reg.example/other:v1"}


def test_a_container_in_a_sandbox_that_only_its_event_reported_is_remembered() -> None:
    """The sandbox's own event was lost, and both came and went between two listings."""
    images = (MAIN, OTHER)
    state = state_of(images)
    short = made("app", MAIN, FIRST)
    event = ContainerEvent(short.id, EventKind.CREATED, T0, FIRST, (short,))
    absorb(ContainerChanged(event, T0), state)
    for at in (T0 + 2, NOW, NOW + 60):
        absorb(listed(images, (), (SECOND,) if at >= NOW else (), at=at), state)
    assert free(state) == {"reg.example/other:v1"}


def test_a_list_that_lacks_a_sandbox_for_a_moment_costs_no_memory_of_its_template() -> None:
    """It lacked it when the container was listed for the first time."""
    images, first = (MAIN, OTHER), (made("app", MAIN, FIRST),)
    state = state_of(images, first)
    absorb(listed(images, first, (FIRST,), at=T0 + 30), state)
    for at in (T0 + 60, NOW, NOW + 60):
        absorb(listed(images, (), (SECOND,), at=at), state)
    assert free(state) == {"reg.example/other:v1"}


def test_a_list_that_lacks_what_is_mounted_for_a_moment_costs_no_memory_of_it() -> None:
    """It lacked the model's image when the runtime reported what the container mounts."""
    images, first = (MAIN, MODEL, OTHER), made("app", MAIN, FIRST, volumes=None)
    state = state_of((MAIN, OTHER), (first,), (FIRST,))
    absorb(VolumesReported(T0, first.id, (volume(MODEL.id),)), state)
    absorb(listed(images, (first,), (FIRST,), at=T0 + 30), state)
    for at in (T0 + 60, NOW, NOW + 60):
        absorb(listed(images, (), (SECOND,), at=at), state)
    assert free(state) == {"reg.example/other:v1"}


def test_what_an_event_says_is_mounted_is_remembered() -> None:
    """The container was listed before, and nothing had reported its mounts by then."""
    images, first = (MAIN, MODEL, OTHER), made("app", MAIN, FIRST, volumes=None)
    state = state_of(images, (first,), (FIRST,), version=CONTAINERD_2)
    mounting = replace(first, volumes=(volume(MODEL.id),))
    event = ContainerEvent(first.id, EventKind.STARTED, T0, FIRST, (mounting,))
    absorb(ContainerChanged(event, T0 + 1), state)
    for at in (T0 + 60, NOW, NOW + 60):
        absorb(listed(images, (), (SECOND,), at=at, version=CONTAINERD_2), state)
    assert free(state) == {"reg.example/other:v1"}


def test_a_twin_is_known_by_the_event_of_a_container_in_it() -> None:
    """The sandbox's own event was lost; nothing goes until the next listing. It counted for a
    second, as a pod does that is starting."""
    state = ran_before()
    twin = made("wait", INIT, SECOND)
    event = ContainerEvent(twin.id, EventKind.CREATED, NOW, SECOND, (twin,))
    absorb(ContainerChanged(event, NOW), state)
    for later in (0.1, 3.0, 59.0):
        assert "reg.example/app:v1" not in free(state, NOW + later)
    absorb(listed((INIT, MAIN, OTHER), (), (), at=NOW + 60), state)
    assert "reg.example/app:v1" in free(state, NOW + DAY)


def test_what_one_container_used_is_not_forgotten_when_it_is_reported_again() -> None:
    """By a restarted daemon, which sees its image under other tags, or not all it mounts."""
    templates = Templates()
    templates.note(WEB, "app", Used(T0, ("k", "reg.example/app:v1")), T0)
    templates.note(WEB, "app", Used(T0, ("k", "reg.example/app:old")), T0 + 60)
    templates.note(WEB, "app", Used(T0, ("k",)), T0 + 120)
    (used,) = templates.records[WEB.name].used.values()
    assert used.images == ("k", "reg.example/app:v1", "reg.example/app:old")
    templates.note(WEB, "app", Used(T0 + 1, ("new",)), T0 + 180)
    assert templates.records[WEB.name].used == {"app": Used(T0 + 1, ("new",))}


def test_where_a_clock_was_set_back_both_containers_count() -> None:
    """What was made in what is the future now may have been made before."""
    templates = Templates()
    templates.note(WEB, "app", Used(T0 + DAY, ("old",)), T0 + DAY)
    templates.note(WEB, "app", Used(T0, ("new",)), T0 + 1)
    assert templates.records[WEB.name].used == {"app": Used(T0 + DAY, ("old", "new"))}
    templates.note(WEB, "app", Used(T0 + 2 * DAY, ("newest",)), T0 + 2 * DAY)
    assert templates.records[WEB.name].used == {"app": Used(T0 + 2 * DAY, ("newest",))}
