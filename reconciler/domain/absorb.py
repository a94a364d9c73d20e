"""Apply one fact to the state.

`absorb(fact, state)` is the only entry point for facts; a listing, which takes long, goes by
`absorb_listing` in steps. What else edits the state is in `state.py`.

- Absorbing a fact twice has the same result as absorbing it once.
- A fact without a case here does not pass the type check.
- Doubt waits for a listing: a stream that opened or broke, or an answer that denies what is
  listed, requests a new listing; after a listing that failed, or when this process has just become
  the remover, nothing may be removed on the last listing.
- While listings fail, a question that fails says nothing about its subject.
- A pressure persists as long as the marks are derived from the same values; else it starts calm.
- A measurement older than the last one can end a reclaim, and does nothing else.

Nothing is decided or reported here. A listing is applied by `absorb_listing.py`, an event to the
graph by `graph.py`, the result of a removal by `removing.py`; pressure moves by `watermark.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from . import facts, removing
from .absorb_listing import absorb_listing, count_use, note_unplaced
from .absorb_pods import note_template
from .inventory import EventKind, UsageSample
from .policy import Mode, Watermarks
from .state import State
from .steps import run_to_completion
from .watermark import Bounds, Pressure, measured, measured_late


def absorb(fact: facts.Fact, state: State) -> None:
    """Applies one fact to the state. A listing takes long: `absorb_listing` applies it in
    steps."""
    match fact:
        case facts.UsageSampled():
            _usage_sampled(fact, state)
        case facts.WallClockRead():
            state.wall_ahead = fact.ahead
        case facts.ContainerChanged():
            _container_changed(fact, state)
        case facts.EventsOpened():  # what happened before the subscription is unknown: list now
            state.runtime.events, state.graph.needs_relist = None, True
        case facts.EventsLost() | facts.EventsAbsent():
            state.runtime.events, state.graph.needs_relist = fact.reason, True
        case facts.Listed():
            run_to_completion(absorb_listing(fact, state))
        case facts.ListingDue():
            state.graph.needs_relist = True
        case facts.ListingFailed():
            state.runtime.listing_stale, state.runtime.listing_trouble = True, fact.reason
            state.runtime.unanswered.forgive(fact.at)
        case facts.VolumesReported():
            _volumes_reported(fact, state)
        case facts.PauseReported():
            _pause_reported(fact, state)
        case facts.AskFailed():
            _ask_failed(fact, state)
        case facts.PodsReported():
            state.pods.awaited.replace_all(fact.source, fact.pods, fact.at)
        case facts.PodReported():
            state.pods.awaited.update(fact.pod)
        case facts.PodGone():
            state.pods.awaited.forget(fact.uid)
        case facts.PodsLost():
            state.pods.awaited.lose(fact.reason, fact.at)
        case facts.RemoverReported():
            _remover_reported(fact, state)
        case facts.RemovalPlanned():
            removing.plan(state, fact)
        case facts.RemovalSpared():
            removing.spare(state, fact)
        case facts.RemovalBegun():
            removing.begin(state, fact)
        case facts.RemovalFinished():
            removing.finish(state, fact)
        case facts.NothingRemovable():
            _nothing_removable(state)
        case facts.PolicyLoaded():
            state.operator.policy, state.operator.problems = fact.policy, ()
            _measure_again(state)
        case facts.PolicyRejected():
            state.operator.problems = fact.problems
        case facts.KubeletReported():
            state.disks.kubelet, state.disks.nodefs = fact.config, fact.nodefs
            _measure_again(state)
        case facts.Paused():
            state.operator.pause(fact.at)
        case facts.Resumed():
            state.operator.paused_at = None
        case facts.ReclaimAsked():
            state.disks.press()
        case _:
            assert_never(fact)


def _container_changed(fact: facts.ContainerChanged, state: State) -> None:
    event, graph, at = fact.event, state.graph, fact.received_at
    before = graph.containers.get(event.subject_id)
    if state.pods.starts.settling_due(at):
        state.settle_starts(at)
    sandbox = event.sandbox if event.kind is not EventKind.DELETED else None
    new = sandbox if sandbox is not None and graph.is_new(sandbox.id) else None
    if new is not None:
        state.pods.starts.add(new, at)
    used = set(graph.uses_of(event.subject_id))
    graph.apply(event, at)
    for container in event.containers:
        if container.id == event.subject_id and before is None:
            count_use(state, container, {})
        if container.id not in state.pods.templates.noted:
            note_template(state, container, at, event.sandbox)
        state.pods.starts.container_made(container.sandbox_id, at)
        used |= graph.images_of(container) | graph.uses_of(container.id)
        note_unplaced(state, container, at)
    for key in used:
        state.memory.touch(key, at)
    gone = event.kind is EventKind.DELETED and event.subject_id not in graph.containers
    if before is not None and gone:
        note_unplaced(state, before, at)
        state.memory.end(event.subject_id, at)
    if new is not None:
        state.note_start(new, at)


def _volumes_reported(fact: facts.VolumesReported, state: State) -> None:
    state.runtime.unanswered.forget(fact.container_id)
    state.graph.put_volumes(fact.container_id, fact.volumes, fact.at)
    container = state.graph.containers.get(fact.container_id)
    if container is not None and fact.volumes:
        note_template(state, container, fact.at)


def _pause_reported(fact: facts.PauseReported, state: State) -> None:
    sandbox = state.graph.sandboxes.get(fact.sandbox_id)
    if sandbox is None:
        return
    pauseless = fact.pause is None
    state.graph.put_sandbox(replace(sandbox, pause=fact.pause or (), pauseless=pauseless))
    if fact.pause or pauseless:
        state.runtime.unanswered.forget(fact.sandbox_id)
    else:
        state.runtime.unanswered.note(fact.sandbox_id, fact.at)


def _ask_failed(fact: facts.AskFailed, state: State) -> None:
    if state.runtime.listing_trouble is None:  # else the whole runtime is unavailable
        state.runtime.unanswered.note(fact.subject_id, fact.at)
    if fact.denied:
        state.graph.needs_relist = True
    elif not state.runtime.unanswered.narrowed(fact.subject_id, fact.at):
        state.runtime.ask_trouble = f"{fact.subject_id[:13]}: {fact.reason}"


def _remover_reported(fact: facts.RemoverReported, state: State) -> None:
    if fact.ours and not state.removes:
        state.runtime.listing_stale = True  # another may have removed until this moment
    state.remover = fact


def _usage_sampled(fact: facts.UsageSampled, state: State) -> None:
    state.disks.shown = ()
    if state.disks.sample is not None and fact.sample.at < state.disks.sample.at:
        for usage in fact.sample.filesystems:
            known = state.disks.filesystems.get(usage.mountpoint)
            if known is not None:
                state.disks.filesystems[usage.mountpoint] = measured_late(known, usage)
        return
    if fact.sample is not state.disks.sample:
        _credit_earlier_removals(state, fact.sample)
    state.disks.sample = fact.sample
    # A pressure belongs to the marks that were crossed: other marks may not have been.
    bounds = _bounds(state)
    before = state.disks.filesystems if bounds == state.disks.bounds else {}
    state.disks.bounds = bounds
    state.disks.filesystems = {
        usage.mountpoint: measured(
            usage, bounds, state.disks.overshoot(usage.mountpoint), before.get(usage.mountpoint)
        )
        for usage in fact.sample.filesystems
    }
    _note_overshoots(state, fact.sample.at)
    if state.disks.pressure is Pressure.CALM:
        state.disks.forgive()


def _measure_again(state: State) -> None:
    """Applies the last measurement again, after a change of what the marks are derived from."""
    if state.disks.sample is not None:
        _usage_sampled(facts.UsageSampled(state.disks.sample), state)


def _nothing_removable(state: State) -> None:
    for mountpoint, fs in state.disks.filesystems.items():
        if fs.by_bytes is Pressure.RECLAIMING:
            state.disks.overshoot(mountpoint).helpless = True


def _credit_earlier_removals(state: State, sample: UsageSample) -> None:
    """Credits earlier removals with the space that a sample shows by now. A filesystem that cannot
    be measured shows nothing, and is not waited for any longer than others."""
    taken = {usage.mountpoint: usage.taken for usage in sample.filesystems}
    settled = [
        removed
        for mountpoint, space in state.disks.delayed.items()
        for removed in space.take_sample(taken.get(mountpoint, space.taken), sample.at)
    ]
    state.disks.shown = tuple(settled)
    removing.weigh(state.disks, sample.at)


def _bounds(state: State) -> Bounds:
    policy = state.operator.policy
    marks = policy.watermarks if policy else Watermarks()
    given = policy.kubelet if policy else None
    return Bounds(marks, given or state.disks.kubelet, state.disks.nodefs)


def _note_overshoots(state: State, at: float) -> None:
    """Records how far usage runs past the high marks while this daemon removes."""
    policy = state.operator.policy
    enforced = policy is not None and policy.mode is Mode.ENFORCE and not policy.watermarks.from_low
    removing_now = enforced and state.operator.paused_at is None and not state.stands_by
    for mountpoint, fs in state.disks.filesystems.items():
        overshoot = state.disks.overshoot(mountpoint)
        if overshoot.take_sample(fs.usage.used, fs.high, at, counts=removing_now):
            state.disks.changed_overshoots.add(mountpoint)
