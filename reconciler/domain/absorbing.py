"""How a fact changes what is known.

`absorb(fact, state)` is the one door: nothing else edits the state. Absorbing a fact twice leaves
what absorbing it once left. A fact without a case here does not pass the type check.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from . import facts, removals
from .inventory import EventKind, UsageSample
from .listed import absorbing, count_use, note_unplaced
from .noting import note_template
from .policy import Mode, Watermarks
from .slices import finished
from .state import State
from .watermark import Bounds, Pressure, measured, pressed, told_late


def absorb(fact: facts.Fact, state: State) -> None:
    """Changes the state by one fact. A listing takes long: `listed.absorbing` does it in slices."""
    match fact:
        case facts.UsageSampled():
            _usage_sampled(fact, state)
        case facts.WallClockRead():
            state.wall_ahead = fact.ahead
        case facts.ContainerChanged():
            _container_changed(fact, state)
        case facts.EventsOpened():  # subscribed first, so list now: what was before is unknown
            state.events, state.graph.ambiguous = None, True
        case facts.EventsLost() | facts.EventsAbsent():
            state.events, state.graph.ambiguous = fact.reason, True
        case facts.Listed():
            finished(absorbing(fact, state))
        case facts.ListingDue():
            state.graph.ambiguous = True
        case facts.ListingFailed():
            state.listing_spent, state.listing_trouble = True, fact.reason
            state.unanswered.forgive(fact.at)
        case facts.VolumesTold():
            _volumes_told(fact, state)
        case facts.PauseTold():
            _pause_told(fact, state)
        case facts.AskFailed():
            _ask_failed(fact, state)
        case facts.PodsTold():
            state.awaited.tell_all(fact.source, fact.pods, fact.at)
        case facts.PodTold():
            state.awaited.tell(fact.pod)
        case facts.PodGone():
            state.awaited.forget(fact.uid)
        case facts.PodsLost():
            state.awaited.lose(fact.reason, fact.at)
        case facts.RemoverTold():
            _remover_told(fact, state)
        case facts.RemovalPlanned():
            removals.plan(state, fact)
        case facts.RemovalSpared():
            removals.spare(state, fact)
        case facts.RemovalBegun():
            removals.begin(state, fact)
        case facts.RemovalFinished():
            removals.finish(state, fact)
        case facts.NothingGoes():
            _nothing_goes(state)
        case facts.PolicyLoaded():
            state.policy, state.policy_problems = fact.policy, ()
            _measure_anew(state)
        case facts.PolicyRejected():
            state.policy_problems = fact.problems
        case facts.KubeletTold():
            state.kubelet, state.nodefs = fact.config, fact.nodefs
            _measure_anew(state)
        case facts.Paused():
            state.paused_at = fact.at if state.paused_at is None else state.paused_at
        case facts.Resumed():
            state.paused_at = None
        case facts.ReclaimAsked():
            state.filesystems = {name: pressed(fs) for name, fs in state.filesystems.items()}
            state.forgive()
        case _:
            assert_never(fact)


def _container_changed(fact: facts.ContainerChanged, state: State) -> None:
    event, graph, at = fact.event, state.graph, fact.received_at
    before = graph.containers.get(event.subject_id)
    sandbox = event.sandbox if event.kind is not EventKind.DELETED else None
    if sandbox is not None and graph.is_new(sandbox.id):
        state.starts.note(sandbox, at)
    used = set(graph.uses_of(event.subject_id))
    graph.apply(event, at)
    for container in event.containers:
        if container.id == event.subject_id and before is None:
            count_use(state, container, {})
        if container.id not in state.templates.noted:
            note_template(state, container, at, event.sandbox)
        state.starts.made(container.sandbox_id, at)
        used |= graph.images_of(container) | graph.uses_of(container.id)
        note_unplaced(state, container, at)
    for key in used:
        state.memory.touch(key, at)
    gone = event.kind is EventKind.DELETED and event.subject_id not in graph.containers
    if before is not None and gone:
        note_unplaced(state, before, at)
        state.memory.end(event.subject_id, at)
    state.settle_starts(at)


def _volumes_told(fact: facts.VolumesTold, state: State) -> None:
    state.unanswered.forget(fact.container_id)
    state.graph.put_volumes(fact.container_id, fact.volumes, fact.at)
    container = state.graph.containers.get(fact.container_id)
    if container is not None and fact.volumes:
        note_template(state, container, fact.at)


def _pause_told(fact: facts.PauseTold, state: State) -> None:
    sandbox = state.graph.sandboxes.get(fact.sandbox_id)
    if sandbox is None:
        return
    pauseless = fact.pause is None
    state.graph.put_sandbox(replace(sandbox, pause=fact.pause or (), pauseless=pauseless))
    if fact.pause or pauseless:
        state.unanswered.forget(fact.sandbox_id)
    else:
        state.unanswered.note(fact.sandbox_id, fact.at)


def _ask_failed(fact: facts.AskFailed, state: State) -> None:
    if state.listing_trouble is None:  # else it is the runtime that is away
        state.unanswered.note(fact.subject_id, fact.at)
    if fact.denied:
        state.graph.ambiguous = True
    elif not state.unanswered.narrowed(fact.subject_id, fact.at):
        state.ask_trouble = f"{fact.subject_id[:13]}: {fact.reason}"


def _remover_told(fact: facts.RemoverTold, state: State) -> None:
    if fact.ours and not state.removes:
        state.listing_spent = True  # another may have removed until this moment
    state.remover = fact


def _usage_sampled(fact: facts.UsageSampled, state: State) -> None:
    state.shown = ()
    if state.sample is not None and fact.sample.at < state.sample.at:
        for usage in fact.sample.filesystems:
            known = state.filesystems.get(usage.mountpoint)
            if known is not None:
                state.filesystems[usage.mountpoint] = told_late(known, usage)
        return
    if fact.sample is not state.sample:
        _take_stock(state, fact.sample)
    state.sample = fact.sample
    # A pressure belongs to what its marks go by: others may not have been crossed at all.
    bounds = _bounds(state)
    before = state.filesystems if bounds == state.bounds else {}
    state.bounds = bounds
    state.filesystems = {
        usage.mountpoint: measured(
            usage, bounds, state.overshoot(usage.mountpoint), before.get(usage.mountpoint)
        )
        for usage in fact.sample.filesystems
    }
    _note_overshoots(state, fact.sample.at)
    if state.pressure is Pressure.CALM:
        state.forgive()


def _measure_anew(state: State) -> None:
    """What the marks go by has changed: the last measurement is weighed by it."""
    if state.sample is not None:
        _usage_sampled(facts.UsageSampled(state.sample), state)


def _nothing_goes(state: State) -> None:
    for mountpoint, fs in state.filesystems.items():
        if fs.by_bytes is Pressure.RECLAIMING:
            state.overshoot(mountpoint).helpless = True


def _take_stock(state: State, sample: UsageSample) -> None:
    """What shows by now of earlier removals."""
    over = [
        removed
        for usage in sample.filesystems
        if usage.mountpoint in state.accounts
        for removed in state.accounts[usage.mountpoint].sampled(usage.taken, sample.at)
    ]
    state.shown = tuple(over)
    removals.weigh(state, over, sample.at)


def _bounds(state: State) -> Bounds:
    policy = state.policy
    marks = policy.watermarks if policy else Watermarks()
    told = policy.kubelet if policy else None
    return Bounds(marks, told or state.kubelet, state.nodefs)


def _note_overshoots(state: State, at: float) -> None:
    """How far usage runs past the high marks, where removal is at work against it."""
    policy = state.policy
    enforced = policy is not None and policy.mode is Mode.ENFORCE and not policy.watermarks.from_low
    works = enforced and state.paused_at is None and not state.stands_by
    for mountpoint, fs in state.filesystems.items():
        overshoot = state.overshoot(mountpoint)
        if overshoot.sampled(fs.usage.used, fs.high, at, counts=works):
            state.changed_overshoots.add(mountpoint)
