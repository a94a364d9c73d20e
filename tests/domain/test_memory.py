"""What is remembered of images: first starts, restarts, returns, versions."""

from __future__ import annotations

from dataclasses import replace

from reconciler.domain import facts
from reconciler.domain.absorb import absorb
from reconciler.domain.decision import score_of
from reconciler.domain.inventory import Container, ContainerEvent, EventKind, Image
from reconciler.domain.ledger import ImageRecord, Remembered
from reconciler.domain.memory import GONE_IMAGES_KEPT_FOR
from reconciler.domain.state import State
from tests.builders import DAY, T0, container, image, listed, policy, sandbox

HOUR = 3600.0


def made(name: str, of: Image, at: float) -> Container:
    return replace(container(name, of), created_at=at)


def restarted(state: State, at: float) -> State:
    """The state of a new daemon started on what the old one had written."""
    memory = state.memory
    again = State(began_at=at)
    again.remember(
        Remembered(
            memory.images,
            memory.gone,
            state.removals.records,
            memory.arrivals,
            dict(memory.running),
        )
    )
    return again


def standing(state: State, one: Image, now: float) -> float:
    return score_of(one, state, policy(), now).standing


def test_a_first_start_counts_containers_that_were_there_before() -> None:
    """With no ledger, what runs shows since when its image has been here, and what was used."""
    app, other = image("app:v1"), image("other:v1")
    state = State(began_at=T0)
    absorb(listed([app, other], [made("c", app, T0 - 9 * DAY)], at=T0), state)
    record = state.ledger[app.key]
    assert (record.first_seen, record.uses, record.last_used) == (T0 - 9 * DAY, 1, T0)
    assert state.ledger[other.key].first_seen == T0


def test_a_first_start_takes_no_image_for_the_newest_version() -> None:
    """Without a ledger nobody knows which version came last: none supersedes the one that runs."""
    old, new = image("app:v1.0.1"), image("app:v1.0.2")
    state = State(began_at=T0)
    absorb(listed([old, new], [made("c", new, T0 - DAY)], at=T0), state)
    assert standing(state, new, T0 + DAY) == 1.0


def test_the_first_container_of_a_fresh_pull_is_counted() -> None:
    """Its event comes before any listing has the image: it must count all the same."""
    app = image("app:v1")
    state = State(began_at=T0)
    absorb(listed([], at=T0), state)
    new = made("c", app, T0 + 10)
    event = ContainerEvent(new.id, EventKind.CREATED, T0 + 10, sandbox(), (new,))
    absorb(facts.ContainerChanged(event, T0 + 10), state)
    absorb(listed([app], [new], at=T0 + 11), state)
    assert state.ledger[app.key].uses == 1
    assert state.ledger[app.key].first_seen == T0 + 10


def test_a_job_that_came_and_went_before_the_first_listing_was_a_use() -> None:
    """Events come first after a start, and name their image by a digest that nothing listed yet
    answers to: the image is unused since then, not since what the ledger remembers."""
    app, other = image("app:v1"), image("other:v1")
    state = State(began_at=T0)
    for one in (app, other):
        state.ledger[one.key] = ImageRecord(first_seen=T0 - DAY, last_used=T0 - DAY)
    job = replace(made("job", app, T0 + 1), image_ref=app.digests[0])
    for kind, at in ((EventKind.CREATED, T0 + 1), (EventKind.DELETED, T0 + 2)):
        inside = (job,) if kind is EventKind.CREATED else ()
        event = ContainerEvent(job.id, kind, at, sandbox(), inside)
        absorb(facts.ContainerChanged(event, at), state)
    absorb(listed([app, other], [], at=T0 + 3), state)
    assert state.ledger[app.key].last_used == T0 + 2
    assert state.ledger[other.key].last_used == T0 - DAY


def test_a_job_on_an_image_that_no_ledger_knows_was_a_use_before_the_first_listing() -> None:
    """It names its image by the id, of which nothing is remembered yet: used until it was gone, and
    not merely seen since the listing."""
    app = image("app:v1")
    state = State(began_at=T0)
    job = made("job", app, T0 + 1)
    for kind, at in ((EventKind.CREATED, T0 + 1), (EventKind.DELETED, T0 + 2)):
        inside = (job,) if kind is EventKind.CREATED else ()
        event = ContainerEvent(job.id, kind, at, sandbox(), inside)
        absorb(facts.ContainerChanged(event, at), state)
    absorb(listed([app], [], at=T0 + 3), state)
    assert state.ledger[app.key].last_used == T0 + 2


def test_a_new_version_supersedes_the_old_one_until_that_is_started_again() -> None:
    """v1.0.2 is pulled and runs: v1.0.1 is worth little; a rollback makes it count in full."""
    old, new = image("app:v1.0.1"), image("app:v1.0.2")
    state = State(began_at=T0)
    absorb(listed([old], [made("a", old, T0)], at=T0), state)
    absorb(listed([old, new], [made("b", new, T0 + DAY)], at=T0 + DAY), state)
    assert standing(state, old, T0 + 2 * DAY) == 0.03
    assert standing(state, new, T0 + 2 * DAY) == 1.0
    absorb(listed([old, new], [made("c", old, T0 + 3 * DAY)], at=T0 + 3 * DAY), state)
    assert standing(state, old, T0 + 4 * DAY) == 1.0


def test_an_image_that_lost_its_tag_to_a_newer_one_is_superseded() -> None:
    """`latest` moves: what it meant before is listed by digest alone, and goes early."""
    old = image("app:latest")
    state = State(began_at=T0)
    absorb(listed([old], [made("a", old, T0)], at=T0), state)
    new = replace(image("app:other"), tags=old.tags)
    bare = replace(old, tags=())
    absorb(listed([bare, new], [made("b", new, T0 + DAY)], at=T0 + DAY), state)
    assert standing(state, bare, T0 + 2 * DAY) == 0.03


def test_starts_missed_while_down_are_counted() -> None:
    """A container made during our absence, still there when we come back, is one use more."""
    app = image("app:v1")
    state = State(began_at=T0)
    absorb(listed([app], [made("a", app, T0 - 60)], at=T0), state)
    again = restarted(state, T0 + DAY)
    absorb(listed([app], [made("b", app, T0 + HOUR)], at=T0 + DAY), again)
    record = again.ledger[app.key]
    assert (record.uses, record.last_started) == (2, T0 + HOUR)
    assert max(record.counters) > 1.5


def test_a_restart_while_a_container_runs_is_no_new_use() -> None:
    """The container was there all the time: another one next to it opens no episode."""
    app = image("app:v1")
    first, second = made("a", app, T0 - 60), made("b", app, T0 + 5 * HOUR)
    state = State(began_at=T0)
    absorb(listed([app], [first], at=T0), state)
    before = state.ledger[app.key].counters
    again = restarted(state, T0 + DAY)
    absorb(listed([app], [first, second], at=T0 + DAY), again)
    assert again.ledger[app.key].counters == before
    assert again.ledger[app.key].uses == 2


def test_an_image_pulled_again_resumes_its_history_but_is_new_on_the_node() -> None:
    """What we removed and had to be pulled again is worth more than a newcomer, and is young."""
    app = image("app:v1")
    state = State(began_at=T0)
    absorb(listed([app], [made("a", app, T0)], at=T0), state)
    absorb(listed([], at=T0 + HOUR), state)
    assert app.key not in state.ledger
    back = T0 + DAY
    absorb(listed([app], [made("b", app, back)], at=back), state)
    record = state.ledger[app.key]
    assert (record.first_seen, record.uses) == (back, 2)


def test_an_old_version_pulled_again_is_not_the_newest() -> None:
    """A rollback to a removed version supersedes nothing: it is no new version."""
    old, new = image("app:v1.0.1"), image("app:v1.0.2")
    state = State(began_at=T0)
    absorb(listed([old], [made("a", old, T0)], at=T0), state)
    absorb(listed([new], [made("b", new, T0 + DAY)], at=T0 + DAY), state)
    absorb(listed([old, new], [made("c", old, T0 + 2 * DAY)], at=T0 + 2 * DAY), state)
    assert standing(state, new, T0 + 3 * DAY) == 1.0


def test_images_long_gone_are_forgotten_and_their_series_with_them() -> None:
    """A CI node sees thousands of images a day: what is remembered of them has an end."""
    ci = image("ci/build:0a1b2c3d4e")
    state = State(began_at=T0)
    absorb(listed([], at=T0), state)
    absorb(listed([ci], at=T0 + 1), state)
    absorb(listed([], at=T0 + 2), state)
    assert ci.key in state.memory.gone
    assert state.memory.arrivals
    absorb(listed([], at=T0 + 3 + GONE_IMAGES_KEPT_FOR), state)
    assert not state.memory.gone
    assert not state.memory.arrivals
    assert state.take_changes().images[ci.key] is None


def test_the_log_has_each_start_pull_and_end_once() -> None:
    """What `record` exports: doubled facts add no line."""
    app = image("app:v1")
    run = made("a", app, T0 + 10)
    state = State(began_at=T0)
    absorb(listed([], at=T0), state)
    for _ in range(2):
        absorb(listed([app], [run], at=T0 + 10), state)
    for _ in range(2):
        absorb(listed([app], at=T0 + 50), state)
    lines = [(line.at, bool(line.container), line.ended) for line in state.take_changes().log]
    assert lines == [(T0 + 10, False, False), (T0 + 10, True, False), (T0 + 50, True, True)]
