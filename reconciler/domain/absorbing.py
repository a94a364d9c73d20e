"""How a fact changes what is known.

`absorb(fact, state)` is the one door: nothing else edits the state.

- Absorbing a fact twice leaves what absorbing it once left.
- A fact without a case here does not pass the type check.
- Doubt waits for a listing: a stream that opened or broke, or an answer that denies what is
  listed, asks for a new listing; a listing that failed, and a right to remove that is new, make
  the last one no base for a removal.
- While the runtime lists nothing, a question that fails says nothing of what it was about.
- A pressure is carried on as long as the marks go by the same things; else it begins calm.
- A measurement older than the last one can end a reclaim, and does nothing else.

Nothing is decided here, and nobody is told. A listing is `listed.py`, the graph's part of an event
`graph.py`, what a removal leaves `removing.py`, how the pressure moves `watermark.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from . import facts, removing
from .inventory import EventKind, UsageSample
from .listed import absorbing, count_use, note_unplaced
from .noting import note_template
from .policy import Mode, Watermarks
from .state import State
from .steps import run_to_completion
from .watermark import Bounds, Pressure, measured, told_late


def absorb(fact: facts.Fact, state: State) -> None:
    """Changes the state by one fact. A listing takes long: `listed.absorbing` does it in steps."""
    match fact:
        case facts.UsageSampled():
            _usage_sampled(fact, state)
        case facts.WallClockRead():
            state.wall_ahead = fact.ahead
        case facts.ContainerChanged():
            _container_changed(fact, state)
        case facts.EventsOpened():  # subscribed first, so list now: what was before is unknown
            state.runtime.events, state.graph.needs_relist = None, True
        case facts.EventsLost() | facts.EventsAbsent():
            state.runtime.events, state.graph.needs_relist = fact.reason, True
        case facts.Listed():
            run_to_completion(absorbing(fact, state))
        case facts.ListingDue():
            state.graph.needs_relist = True
        case facts.ListingFailed():
            state.runtime.listing_stale, state.runtime.listing_trouble = True, fact.reason
            state.runtime.unanswered.forgive(fact.at)
        case facts.VolumesReported():
            _volumes_told(fact, state)
        case facts.PauseReported():
            _pause_told(fact, state)
        case facts.AskFailed():
            _ask_failed(fact, state)
        case facts.PodsReported():
            state.pods.awaited.tell_all(fact.source, fact.pods, fact.at)
        case facts.PodReported():
            state.pods.awaited.tell(fact.pod)
        case facts.PodGone():
            state.pods.awaited.forget(fact.uid)
        case facts.PodsLost():
            state.pods.awaited.lose(fact.reason, fact.at)
        case facts.RemoverReported():
            _remover_told(fact, state)
        case facts.RemovalPlanned():
            removing.plan(state, fact)
        case facts.RemovalSpared():
            removing.spare(state, fact)
        case facts.RemovalBegun():
            removing.begin(state, fact)
        case facts.RemovalFinished():
            removing.finish(state, fact)
        case facts.NothingGoes():
            _nothing_goes(state)
        case facts.PolicyLoaded():
            state.operator.policy, state.operator.problems = fact.policy, ()
            _measure_anew(state)
        case facts.PolicyRejected():
            state.operator.problems = fact.problems
        case facts.KubeletReported():
            state.disks.kubelet, state.disks.nodefs = fact.config, fact.nodefs
            _measure_anew(state)
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
    sandbox = event.sandbox if event.kind is not EventKind.DELETED else None
    if sandbox is not None and graph.is_new(sandbox.id):
        state.pods.starts.note(sandbox, at)
    used = set(graph.uses_of(event.subject_id))
    graph.apply(event, at)
    for container in event.containers:
        if container.id == event.subject_id and before is None:
            count_use(state, container, {})
        if container.id not in state.pods.templates.noted:
            note_template(state, container, at, event.sandbox)
        state.pods.starts.made(container.sandbox_id, at)
        used |= graph.images_of(container) | graph.uses_of(container.id)
        note_unplaced(state, container, at)
    for key in used:
        state.memory.touch(key, at)
    gone = event.kind is EventKind.DELETED and event.subject_id not in graph.containers
    if before is not None and gone:
        note_unplaced(state, before, at)
        state.memory.end(event.subject_id, at)
    state.settle_starts(at)


def _volumes_told(fact: facts.VolumesReported, state: State) -> None:
    state.runtime.unanswered.forget(fact.container_id)
    state.graph.put_volumes(fact.container_id, fact.volumes, fact.at)
    container = state.graph.containers.get(fact.container_id)
    if container is not None and fact.volumes:
        note_template(state, container, fact.at)


def _pause_told(fact: facts.PauseReported, state: State) -> None:
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
    if state.runtime.listing_trouble is None:  # else it is the runtime that is away
        state.runtime.unanswered.note(fact.subject_id, fact.at)
    if fact.denied:
        state.graph.needs_relist = True
    elif not state.runtime.unanswered.narrowed(fact.subject_id, fact.at):
        state.runtime.ask_trouble = f"{fact.subject_id[:13]}: {fact.reason}"


def _remover_told(fact: facts.RemoverReported, state: State) -> None:
    if fact.ours and not state.removes:
        state.runtime.listing_stale = True  # another may have removed until this moment
    state.remover = fact


def _usage_sampled(fact: facts.UsageSampled, state: State) -> None:
    state.disks.shown = ()
    if state.disks.sample is not None and fact.sample.at < state.disks.sample.at:
        for usage in fact.sample.filesystems:
            known = state.disks.filesystems.get(usage.mountpoint)
            if known is not None:
                state.disks.filesystems[usage.mountpoint] = told_late(known, usage)
        return
    if fact.sample is not state.disks.sample:
        _take_stock(state, fact.sample)
    state.disks.sample = fact.sample
    # A pressure belongs to what its marks go by: others may not have been crossed at all.
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


def _measure_anew(state: State) -> None:
    """What the marks go by has changed: the last measurement is weighed by it."""
    if state.disks.sample is not None:
        _usage_sampled(facts.UsageSampled(state.disks.sample), state)


def _nothing_goes(state: State) -> None:
    for mountpoint, fs in state.disks.filesystems.items():
        if fs.by_bytes is Pressure.RECLAIMING:
            state.disks.overshoot(mountpoint).helpless = True


def _take_stock(state: State, sample: UsageSample) -> None:
    """What shows by now of earlier removals."""
    over = [
        removed
        for usage in sample.filesystems
        if usage.mountpoint in state.disks.delayed
        for removed in state.disks.delayed[usage.mountpoint].sampled(usage.taken, sample.at)
    ]
    state.disks.shown = tuple(over)
    removing.weigh(state, over, sample.at)


def _bounds(state: State) -> Bounds:
    policy = state.operator.policy
    marks = policy.watermarks if policy else Watermarks()
    told = policy.kubelet if policy else None
    return Bounds(marks, told or state.disks.kubelet, state.disks.nodefs)


def _note_overshoots(state: State, at: float) -> None:
    """How far usage runs past the high marks, where removal is at work against it."""
    policy = state.operator.policy
    enforced = policy is not None and policy.mode is Mode.ENFORCE and not policy.watermarks.from_low
    works = enforced and state.operator.paused_at is None and not state.stands_by
    for mountpoint, fs in state.disks.filesystems.items():
        overshoot = state.disks.overshoot(mountpoint)
        if overshoot.sampled(fs.usage.used, fs.high, at, counts=works):
            state.disks.changed_overshoots.add(mountpoint)
