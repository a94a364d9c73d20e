"""A pod of which nothing is known holds removal while it starts, for a moment and no longer."""

from __future__ import annotations

from dataclasses import replace

from reconciler.domain.absorb import absorb
from reconciler.domain.decision import decide
from reconciler.domain.facts import ContainerChanged, PodReported, PolicyLoaded
from reconciler.domain.hold import HoldReason
from reconciler.domain.inventory import Container, ContainerEvent, EventKind, Sandbox, Template
from reconciler.domain.pods import Pod
from reconciler.domain.starting_pods import (
    AFTER_FIRST,
    LONGEST_START,
    LONGEST_STRETCH,
    PAUSE,
    SETTLE_EVERY,
)
from reconciler.domain.state import State
from reconciler.domain.templates import SETTLED_AFTER
from tests.builders import DAY, GIB, T0, container, image, listed, policy, sandbox, state_of, usage

APP, OTHER = image("app:v1", GIB), image("other:v1", GIB)
NOW = T0 + DAY
NEW = sandbox("web-1")
OLD = sandbox("old")
BASE = image("base:v1")
RUNS = replace(container("base", BASE), sandbox_id=OLD.id)  # a node is never quite empty


def calm() -> State:
    """A node over its mark, its images and its one pod old."""
    state = state_of((APP, OTHER, BASE), (RUNS,), (OLD,))
    look(state, NOW - 1)
    return state


def look(state: State, at: float, *containers: Container, boxes: tuple[Sandbox, ...] = ()) -> None:
    """A listing with these containers and sandboxes, and the old ones."""
    absorb(listed((APP, OTHER, BASE), (RUNS, *containers), (OLD, *boxes), at=at), state)


def report(state: State, box: Sandbox, at: float) -> None:
    """An event reports a sandbox, and a listing after it has it."""
    absorb(ContainerChanged(ContainerEvent(box.id, EventKind.CREATED, at, box), at), state)
    boxes = [one for one in state.graph.sandboxes.values() if one.id != OLD.id]
    look(state, at, *(c for c in state.graph.containers.values() if c != RUNS), boxes=(*boxes,))


def held(state: State, now: float) -> bool:
    """Whether a pod that is starting holds removal; nothing else may."""
    hold = decide(state, state.operator.policy, now).hold
    assert hold is None or hold.reason is HoldReason.POD_STARTING
    return hold is not None


def test_nothing_goes_between_a_new_sandbox_and_its_first_container() -> None:
    """The runtime lists a container at the end of its creation: a listing in between lacks it."""
    state = calm()
    assert not held(state, NOW)
    report(state, NEW, NOW)
    assert held(state, NOW)
    assert held(state, NOW + LONGEST_START - 0.1)
    plan = decide(state, state.operator.policy, NOW + 1)
    assert plan.look_again_at == NOW + LONGEST_START
    assert plan.hold is not None
    assert "default/web-1 is starting" in plan.hold.detail


def test_the_first_listing_does_not_call_off_a_start_that_an_event_reported() -> None:
    """Events come before the first listing, which takes a sandbox for as old as the wall clock
    says: one that was set since may say anything."""
    state = State(began_at=NOW)
    absorb(PolicyLoaded(NOW, policy(minimum_age=0.0)), state)
    ended = ContainerEvent(container("init", APP).id, EventKind.STOPPED, NOW, NEW)
    absorb(ContainerChanged(ended, NOW), state)
    look(state, NOW + 0.1, boxes=(replace(NEW, created_at=NOW - 60),))
    absorb(usage(90), state)
    assert held(state, NOW + 0.1)
    assert held(state, NOW + LONGEST_START - 0.1)
    assert not held(state, NOW + LONGEST_START)


def test_a_start_that_an_event_and_then_a_list_report_holds_once() -> None:
    """The event of a container reports its sandbox before any list has that."""
    state = calm()
    ended = ContainerEvent(container("init", APP).id, EventKind.STOPPED, NOW, NEW)
    absorb(ContainerChanged(ended, NOW), state)
    look(state, NOW + 2, boxes=(NEW,))
    assert held(state, NOW + LONGEST_START - 0.1)
    assert not held(state, NOW + LONGEST_START)


def test_a_pod_that_pulls_its_image_does_not_hold_removal_for_as_long() -> None:
    """Its own pull is what crossed the mark: it would wait for space that never comes."""
    state = calm()
    report(state, NEW, NOW)
    assert not held(state, NOW + LONGEST_START)
    look(state, NOW + 60, boxes=(NEW,))
    assert not held(state, NOW + 60)


def test_the_first_container_ends_the_hold_early_and_its_sidecars_have_a_moment_more() -> None:
    """kubelet makes the containers of a pod one after the other."""
    state = calm()
    report(state, NEW, NOW)
    first = replace(container("app", APP), sandbox_id=NEW.id)
    event = ContainerEvent(first.id, EventKind.CREATED, NOW, NEW, (first,))
    absorb(ContainerChanged(event, NOW + 1), state)
    look(state, NOW + 1, first, boxes=(NEW,))
    assert held(state, NOW + 1)
    assert not held(state, NOW + 1 + AFTER_FIRST)


def test_a_template_that_ran_here_before_holds_nothing() -> None:
    """What it needs is known, and kept; a Deployment that scales up does not stop the reclaim."""
    web = Template("default/pod-template-hash=7d4b9", exact=True)
    first, twin = sandbox("web-1", template=web), sandbox("web-2", template=web)
    state = calm()
    app = replace(container("app", APP), sandbox_id=first.id)
    look(state, NOW, app, boxes=(first,))
    report(state, twin, NOW + SETTLED_AFTER + 1)
    assert not held(state, NOW + SETTLED_AFTER + 1)


def test_a_template_is_not_known_by_the_first_container_of_its_first_pod() -> None:
    """Ten replicas start at once: when one has made its first container, the others' second one
    is still nobody's."""
    web = Template("default/pod-template-hash=7d4b9", exact=True)
    first, twin = sandbox("web-1", template=web), sandbox("web-2", template=web)
    state = calm()
    app = replace(container("app", APP), sandbox_id=first.id)
    look(state, NOW, app, boxes=(first,))
    report(state, twin, NOW + 2)
    assert held(state, NOW + 2)


def test_pods_named_alike_hold_removal_each_for_itself() -> None:
    """By a name's beginning alone two pods may want different images."""
    state = calm()
    app = replace(container("app", APP), sandbox_id=NEW.id)
    look(state, NOW, app, boxes=(NEW,))
    report(state, sandbox("web-2"), NOW + DAY)
    assert held(state, NOW + DAY)


def test_a_pod_that_a_source_reported_holds_nothing() -> None:
    """All that it needs is known and kept."""
    state = calm()
    report(state, replace(NEW, uid="one"), NOW)
    assert held(state, NOW)
    absorb(PodReported(NOW, "socket", Pod("one", "default/web-1")), state)
    assert not held(state, NOW)


def test_a_pod_without_containers_that_was_there_before_us_holds_nothing() -> None:
    """A pod that cannot pull its image stands there for days, through restarts of ours."""
    state = state_of((APP, OTHER, BASE), (RUNS,), (OLD, sandbox("stuck")), seen=NOW)
    assert not held(state, NOW + DAY)
    look(state, NOW + DAY, boxes=(sandbox("stuck"),))
    assert not held(state, NOW + DAY)


def test_a_pod_that_began_before_us_holds_nothing() -> None:
    """`plan` a moment after a pod has begun does not wait for it."""
    box = replace(NEW, created_at=NOW - 3)
    app = replace(container("app", APP), sandbox_id=box.id, created_at=NOW - 2)
    fresh = replace(app, created_at=NOW - 0.5)
    for made, waits in ((app, False), (fresh, True)):
        eager = policy(minimum_age=0.0)
        state = state_of((APP, OTHER, BASE), (RUNS, made), (OLD, box), in_force=eager, seen=NOW)
        assert held(state, NOW) is waits


def test_a_pod_whose_sandbox_is_stopped_holds_nothing() -> None:
    """It was deleted before it had begun."""
    state = calm()
    report(state, NEW, NOW)
    assert held(state, NOW + 1)
    look(state, NOW + 1, boxes=(replace(NEW, ready=False),))
    assert not held(state, NOW + 1)


def test_a_crash_loop_holds_nothing() -> None:
    """Containers come and go in a sandbox that is long there: no pod is starting."""
    state = calm()
    look(state, NOW, replace(container("first", APP), sandbox_id=NEW.id), boxes=(NEW,))
    for number in range(1, 20):
        now = NOW + 10 * number
        again = replace(container(f"again {number}", APP), sandbox_id=NEW.id)
        event = ContainerEvent(again.id, EventKind.CREATED, now, NEW, (again,))
        absorb(ContainerChanged(event, now), state)
        look(state, now, again, boxes=(NEW,))
        assert not held(state, now)
        look(state, now + 5, boxes=(NEW,))
        assert not held(state, now + 5)


def churn(state: State, seconds: int, every: float = 0.5) -> list[bool]:
    """Pods of templates never seen come all the time; whether removal was held, each time."""
    found = []
    for number in range(int(seconds / every)):
        now = NOW + number * every
        report(state, sandbox(f"job{number}x"), now)
        found.append(held(state, now))
    return found


def test_a_node_on_which_pods_come_all_the_time_still_reclaims() -> None:
    """Half of the time is the reclaim's, in turns."""
    found = churn(calm(), int(4 * LONGEST_STRETCH))
    turn = int(LONGEST_STRETCH / 0.5)
    assert found == [True] * turn + [False] * turn + [True] * turn + [False] * turn


def test_pods_known_from_lists_alone_still_leave_time_to_reclaim() -> None:
    """Without events each look finds pods that came since the last one, just as its own time is
    over: nobody has seen a moment without any."""
    state, found = calm(), []
    for number in range(12):
        now = NOW + number * LONGEST_START
        look(state, now, boxes=(sandbox(f"job{number}x"),))
        found.append(held(state, now))
    turn = int(LONGEST_STRETCH / LONGEST_START)
    assert found == ([True] * turn + [False] * turn) * 2


def test_a_pod_after_a_pause_has_its_moment_though_nothing_happened_in_the_pause() -> None:
    """In a storm not every event looks at all that start: that the last pod had its container at
    once is found when the next one comes, in what would be the reclaim's turn without a pause."""
    state = calm()
    churn(state, int(LONGEST_STRETCH))
    last, next_one = sandbox("last"), sandbox("next")
    began = NOW + LONGEST_STRETCH + 4.0
    made = replace(container("first", BASE), sandbox_id=last.id)
    for at, subject, box, containers in (
        (began, last.id, last, ()),
        (began + SETTLE_EVERY / 2, made.id, last, (made,)),
    ):
        event = ContainerEvent(subject, EventKind.CREATED, at, box, containers)
        absorb(ContainerChanged(event, at), state)
    assert not held(state, began + 0.5)
    later = began + SETTLE_EVERY / 2 + AFTER_FIRST + PAUSE
    event = ContainerEvent(next_one.id, EventKind.CREATED, later, next_one)
    absorb(ContainerChanged(event, later), state)
    look(state, later, made, boxes=(last, next_one))
    assert held(state, later)


def test_pods_that_come_now_and_then_have_their_moment_each() -> None:
    """One every seven seconds: each is waited for, and there is time between them."""
    state = calm()
    for number in range(20):
        now = NOW + 7 * number
        report(state, sandbox(f"now and then {number}x"), now)
        assert held(state, now)
        assert not held(state, now + LONGEST_START)
