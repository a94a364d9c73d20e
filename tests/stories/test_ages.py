"""Ages under clocks and answers that are not what they should be."""

from __future__ import annotations

import time

import pytest

from reconciler.cri.client import CriClient
from reconciler.domain.absorb import absorb
from reconciler.domain.decision import decide
from reconciler.domain.facts import ContainerChanged, Fact, Listed, PolicyLoaded
from reconciler.domain.inventory import Container, ContainerEvent, EventKind, Listing
from reconciler.domain.ledger import ImageRecord
from reconciler.domain.state import State
from reconciler.fake_runtime.habits import CONTAINERD_2
from reconciler.fake_runtime.node import Node
from reconciler.fake_runtime.server import FakeRuntimeServer
from tests.builders import (
    CONTAINERD,
    DAY,
    GIB,
    T0,
    container,
    image,
    listed,
    policy,
    sandbox,
    state_of,
    usage,
    volume,
)


def goes(state: State, at: float) -> bool:
    return decide(state, state.operator.policy, at).eviction is not None


def test_a_slow_listing_does_not_make_a_new_image_older_than_it_is() -> None:
    """An image that was pulled while the runtime took 100 s to answer is no 100 s old."""
    state = state_of(in_force=policy(minimum_age=120.0))
    absorb(Listed(Listing(T0, T0 + 100, (image("new:v1", 10 * GIB),), (), ()), CONTAINERD), state)
    assert not goes(state, T0 + 121)
    assert goes(state, T0 + 220)


def test_an_image_is_unused_only_since_the_listing_that_shows_it() -> None:
    """Its container went at an unknown moment between two listings, without an event: it counts
    as used until the second, not until the first."""
    app = image("app:v1", 10 * GIB)
    other = container("other", image("other:v1"))
    state = state_of([app], [container("c", app), other], in_force=policy(minimum_age=120.0))
    absorb(Listed(Listing(T0 + 30, T0 + 30, (app,), (other,), ()), CONTAINERD), state)
    assert not goes(state, T0 + 121)
    assert goes(state, T0 + 150)


async def test_a_wall_clock_set_back_by_a_day_does_not_age_new_images(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Listings are stamped by the daemon's own clock, which never steps, not by the wall clock."""
    socket = str(tmp_path_factory.mktemp("s") / "cri.sock")
    steady = time.time() + DAY  # what it says after the wall clock was set back
    async with (
        FakeRuntimeServer(Node(CONTAINERD_2), socket),
        CriClient(socket, socket, clock=lambda: steady) as client,
    ):
        listing = await client.list_all()
    assert (listing.began_at, listing.ended_at) == (steady, steady)


async def test_a_client_that_is_given_no_clock_does_not_take_the_wall_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever forgets to hand a clock on must not bring back the one that steps."""
    async with CriClient("/none.sock", "/none.sock") as client:
        before, hour = client.clock(), time.monotonic() + 3600.0
        with monkeypatch.context() as an_hour_later:  # by the clock that nobody sets
            an_hour_later.setattr(time, "monotonic", lambda: hour)
            after = client.clock()
    assert after - before == pytest.approx(3600.0, abs=60.0)


def event(kind: EventKind, of: Container, payload: tuple[Container, ...], at: float) -> Fact:
    event = ContainerEvent(of.id, kind, at, sandbox("box"), payload)
    return ContainerChanged(event, received_at=at)


def test_a_volume_that_was_mounted_for_a_moment_counts_as_used() -> None:
    """The container came and went between two listings: only its events say what it mounted."""
    app, data = image("app:v1", 10 * GIB), image("data:v1", 10 * GIB)
    state = state_of([app, data], in_force=policy(minimum_age=120.0))
    short = container("short", app, volumes=(volume(data.id),))
    absorb(event(EventKind.CREATED, short, (short,), T0 + 100), state)
    absorb(event(EventKind.DELETED, short, (), T0 + 101), state)
    absorb(listed([app, data], at=T0 + 102), state)
    assert state.ledger[data.key].last_used == T0 + 101
    assert not goes(state, T0 + 220)


def test_what_ran_before_the_first_listing_counts_as_used() -> None:
    """A runtime may replay five minutes of events before it answers its first list: the names in
    them mean something as soon as the images are listed."""
    app = image("app:v1", 10 * GIB)
    state = State(began_at=T0)
    state.ledger[app.key] = ImageRecord(first_seen=T0 - DAY)
    absorb(PolicyLoaded(T0, policy(minimum_age=120.0)), state)
    absorb(usage(90), state)
    replayed = container("replayed", app.digests[0])
    absorb(event(EventKind.STOPPED, replayed, (replayed,), T0 + 1), state)
    absorb(event(EventKind.DELETED, replayed, (), T0 + 1), state)
    absorb(listed([app], at=T0 + 10), state)
    assert not goes(state, T0 + 60)
    assert goes(state, T0 + 122)
