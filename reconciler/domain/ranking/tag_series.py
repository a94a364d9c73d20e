"""Which tags are versions of one thing: a tag series.

A series is a repository and a tag with everything left out that changes from one version to the
next. A version is superseded when a newer image of its series was first seen after the version was
last started: it was not started again although a newer one was there.

    v20260810-7619858115-master -> v#-#-master       1.26.3 -> 1.26.#       latest -> latest
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..ledger import Arrival, ImageRecord
from ..reference import InvalidReference, parse_reference

SUPERSEDED = 0.03  # by a newer image of its own series
OUTRUN = 0.6  # a newer image of its repository, in another series
CURRENT = 1.0

_HASH = re.compile(r"(?=[0-9a-f]*[0-9])[0-9a-f]{7,64}")
_LONG_NUMBER = re.compile(r"\d{3,}")
_PATCH = re.compile(r"(\d+\.\d+)\.\d+")


def series_of_tag(tag: str) -> str:
    """Returns the tag with hashes, long numbers and the last number of x.y.z left out."""
    tag = _LONG_NUMBER.sub("#", _HASH.sub("#", tag))
    return _PATCH.sub(r"\1.#", tag)


@functools.lru_cache(maxsize=16384)
def tag_series(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Returns each name's series and repository; a name without a tag is a series of its
    own. A text that is not a name is left out."""
    found: dict[tuple[str, str], None] = {}
    for name in names:
        try:
            reference = parse_reference(name)
        except InvalidReference:
            continue
        if reference.tag is None:
            series = f"{reference.repository}@{reference.digest}"
        else:
            series = f"{reference.repository}:{series_of_tag(reference.tag)}"
        found[series, reference.repository] = None
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an image stands among the versions of the same thing."""

    factor: float
    newer: Arrival | None = None  # what supersedes or outran it


_CURRENT = Standing(CURRENT)


def standing(
    key: str,
    record: ImageRecord,
    names: tuple[tuple[str, str], ...],
    arrivals: Mapping[str, Arrival],
) -> Standing:
    """Returns the standing of an image by the best of its names. One that was never started counts
    from when it was first seen."""
    since = record.first_seen if record.last_started is None else record.last_started
    best: Standing | None = None
    for series, repository in names:
        factor, newer = SUPERSEDED, arrivals.get(series)
        if newer is None or newer.at <= since or newer.key == key:
            factor, newer = OUTRUN, arrivals.get(repository)
            if newer is None or newer.at <= since or newer.key == key:
                return _CURRENT
        if best is None or factor > best.factor:
            best = Standing(factor, newer)
    return best or _CURRENT
