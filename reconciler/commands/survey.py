"""One look at this node for a command that runs once: policy, ledger, listing, filesystems."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

import anyio

from ..cri.client import CriClient, open_client
from ..domain.absorb import absorb
from ..domain.facts import PolicyLoaded, PolicyRejected, UsageSampled
from ..domain.hold import blank_doubted
from ..domain.policy import Policy, unchanged
from ..domain.runtime import ImageRuntime, RuntimeUnavailable
from ..domain.state import State
from ..engine.observe import ask, observe
from ..host.clock import SteadyClock, clocks_of_this_machine
from ..host.lock import holder_of
from ..pods.configz import look as look_at_kubelet
from ..pods.watch import Place
from ..pods.watch import look as look_for_pods
from ..policy import PolicyInvalid, absent, load_policy
from ..settings import Settings
from ..sources.usage_probe import measure, sample
from ..store.database import CannotRead
from ..store.ledger import Ledger
from . import progress

PATIENCE = 10.0  # seconds to wait for the runtime before a command gives up (exit 3)


@dataclass(slots=True)
class Survey:
    """What a command works with; `policy` is the one in force, if any is."""

    state: State
    policy: Policy | None
    now: float
    remover: str | None = None  # another process that removes images here, if one is found


def the_policy(settings: Settings) -> Policy | PolicyInvalid:
    """The policy in force for these settings; with no file at the default path, the defaults."""
    if not settings.policy_named and absent(settings.policy):
        return Policy()
    try:
        return load_policy(settings.policy)
    except PolicyInvalid as invalid:
        return invalid


async def look(
    client: CriClient,
    settings: Settings,
    adapt: Callable[[Policy], Policy] = unchanged,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> Survey:
    """Collects everything that `decide` needs; `adapt` applies the command line's options to the
    policy. What the daemon believes only when a later listing agrees is listed again here too.
    Raises RuntimeFailure."""
    clock = client.clock
    state = remembered(settings, clock)
    now = state.began_at
    read = the_policy(settings)
    if isinstance(read, PolicyInvalid):
        absorb(PolicyRejected(now, tuple(map(str, read.problems))), state)
    else:
        absorb(PolicyLoaded(now, adapt(read)), state)
    with progress.waiting("asking the runtime for all its images, containers and sandboxes..."):
        await relist(client, state, clock)
    with progress.waiting("no container is listed; looking again in some seconds..."):
        while left := blank_doubted(state):
            await sleep(left)
            await relist(client, state, clock)
    with progress.waiting("measuring the disk, asking for pods..."):
        mountpoints = await client.image_mountpoints()
        absorb(await look_at_kubelet(settings, clock), state)
        absorb(UsageSampled(await sample(mountpoints, measure, clock)), state)
        absorb(await look_for_pods(Place.of(settings), clock), state)
    return Survey(state, state.operator.policy, clock(), holder_of(mountpoints))


def remembered(settings: Settings, clock: Callable[[], float]) -> State:
    """A state with what the ledger remembers, before the runtime is asked; a ledger that cannot be
    read is a warning."""
    state = State(began_at=clock())
    clocks = partial(clocks_of_this_machine, clock)
    try:
        state.remember(Ledger.read(settings.state_dir, state.began_at, clocks))
    except CannotRead as trouble:
        print(f"warning: {trouble}; every image counts as seen just now", file=sys.stderr)
    return state


async def relist(client: ImageRuntime, state: State, clock: Callable[[], float]) -> None:
    """Absorbs a complete listing and what no listing contains. Ends when all questions are answered
    or a round of questions settled none: a hold will say so."""
    absorb(await observe(client, state.runtime.version, state.runtime.configured_pause), state)
    waiting = _questions(state)
    while waiting:
        await ask(client, state, clock)
        troubled = state.runtime.ask_trouble is not None
        if state.graph.needs_relist:  # what was asked about is gone: a new listing is needed
            known = state.runtime
            absorb(await observe(client, known.version, known.configured_pause), state)
        left = _questions(state)
        if troubled or waiting <= left:
            break
        waiting = left


def _questions(state: State) -> frozenset[str]:
    """Containers and sandboxes that must still be asked about."""
    return frozenset(state.asks_volumes | state.graph.unasked_sandboxes)


def aged(minimum_age: float | None) -> Callable[[Policy], Policy]:
    """`--minimum-age`, for one command."""

    def adapt(policy: Policy) -> Policy:
        return policy if minimum_age is None else replace(policy, minimum_age=minimum_age)

    return adapt


def connect(settings: Settings) -> CriClient:
    """A client that gives up after the patience of a one-shot command."""
    if settings.runtime_endpoint is None:
        raise RuntimeUnavailable(settings.no_endpoint)
    endpoint, images = settings.runtime_endpoint, settings.image_endpoint
    return open_client(endpoint, images, patience=PATIENCE, clock=SteadyClock())
