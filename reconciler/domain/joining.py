"""What two processes remember of one node, joined. Where they differ, what keeps an image for
longer stands: the later first sight, the later use, the later removal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from .ledger import Arrival, ImageRecord, Remembered, RemovalRecord, TemplateRecord, Used

T = TypeVar("T")


def joined(ours: Remembered, theirs: Remembered, now: float) -> Remembered:
    """Both in one. Which images are on the node is by ours, which is the newer listing; one that
    only they know counts as gone until a listing has it, and then as new."""
    gone = _all(ours.gone, theirs.gone, _later_record)
    for key, record in theirs.images.items():
        gone[key] = _later_record(gone.get(key) or replace(record, gone_at=now), record)
    images = dict(ours.images)
    for key in images.keys() & gone.keys():
        both = replace(_later_record(images[key], gone.pop(key)), gone_at=None)
        away = theirs.gone.get(key)
        if away is not None:  # and nobody here noticed
            both = replace(both, first_seen=max(both.first_seen, away.gone_at or 0.0))
        images[key] = both
    return Remembered(
        images,
        gone,
        _all(ours.removals, theirs.removals, _later_removal),
        _all(ours.arrivals, theirs.arrivals, _later_arrival),
        theirs.running | ours.running,
        _all(ours.templates, theirs.templates, _both_templates),
        _all(ours.overshoots, theirs.overshoots, _both_overshoots),
    )


def _all(ours: Mapping[str, T], theirs: Mapping[str, T], join: Callable[[T, T], T]) -> dict[str, T]:
    both = {**theirs, **ours}
    return both | {key: join(ours[key], theirs[key]) for key in ours.keys() & theirs.keys()}


def _later_record(one: ImageRecord, other: ImageRecord) -> ImageRecord:
    newest = max(one, other, key=lambda record: record.counted_at)
    return replace(
        newest,
        first_seen=max(one.first_seen, other.first_seen),
        last_used=_later(one.last_used, other.last_used),
        last_started=_later(one.last_started, other.last_started),
        uses=max(one.uses, other.uses),
        names=one.names or other.names,
        size=one.size or other.size,
        gone_at=_later(one.gone_at, other.gone_at),
    )


def _later(one: float | None, other: float | None) -> float | None:
    return max((at for at in (one, other) if at is not None), default=None)


def _later_removal(one: RemovalRecord, other: RemovalRecord) -> RemovalRecord:
    return max(one, other, key=lambda record: (record.begun_at, record.answered_at or 0.0))


def _later_arrival(one: Arrival, other: Arrival) -> Arrival:
    return max(one, other, key=lambda arrival: arrival.at)


def _both_templates(one: TemplateRecord, other: TemplateRecord) -> TemplateRecord:
    return TemplateRecord(
        max(one.first_seen, other.first_seen),
        max(one.last_seen, other.last_seen),
        _all(one.used, other.used, _both_used),
    )


def _both_overshoots(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """The farther of the two: the margin by it is the wider one."""
    return max(one, other, key=lambda recent: (max(recent, default=0), -len(recent)))


def _both_used(one: Used, other: Used) -> Used:
    images = tuple(dict.fromkeys((*other.images, *one.images)))
    return Used(max(one.made_at, other.made_at), images)
