"""Logs what a listing shows: the runtime, images that came back, and those that should be here and
are not."""

from __future__ import annotations

from ..domain.facts import Listed
from ..domain.humanize import and_more, image_name
from ..domain.lookup import missing_required
from ..domain.missing import missing_awaited, missing_in_use
from ..domain.state import State
from .logs import get_logger
from .metrics import Metrics
from .notes import Notes
from .troubles import Troubles

NAMED = 5  # images or rules named in a line


class Listings:
    """Compares each listing with what was known before."""

    def __init__(self, metrics: Metrics, notes: Notes, troubles: Troubles) -> None:
        self._metrics, self._notes, self._troubles = metrics, notes, troubles
        self._log = get_logger()

    def listed(self, fact: Listed, state: State) -> None:
        """Handles a complete listing that the state has absorbed already."""
        self._troubles.ended("listing-failed", "listing-works-again")
        if self._troubles.due("runtime", f"{fact.version.name} {fact.version.version}", 0.0) == 0:
            self._log.info(
                "runtime",
                name=fact.version.name,
                version=fact.version.version,
                images=len(fact.listing.images),
                containers=len(fact.listing.containers),
                sandboxes=len(fact.listing.sandboxes),
            )
        for key in state.removals.came_back:
            self._metrics.returned.inc()
            self._log.warning("came-back", image=key, names=list(state.removals.records[key].names))
        self._missing(state, fact.listing.ended_at)

    def _missing(self, state: State, at: float) -> None:
        """Warns about images that should be here and are not: used, awaited or required ones."""
        missing = missing_in_use(state)
        if missing:
            detail = and_more(missing[:1], missing)
            if self._troubles.warn("in-use-image-missing", detail, at):
                self._notes.warn("ImageInUseMissing", detail, at)
        else:
            self._troubles.ended("in-use-image-missing", "in-use-images-all-here")
        never = missing_awaited(state, at)
        if never:
            self._troubles.warn("awaited-image-missing", and_more(never[:1], never), at)
        else:
            self._troubles.ended("awaited-image-missing", "awaited-images-all-here")
        gone, policy = state.removals.gone_by_others, state.operator.policy
        if gone:
            names = [_name(state, key) for key in gone[:NAMED]]
            self._log.info("removed-by-others", images=len(gone), first=names)
        required = missing_required(policy, state.graph) if policy else ()
        if required:
            shown = ", ".join(f"{one.pattern} ({one.place})" for one in required[:NAMED])
            self._troubles.warn("required-image-missing", shown, at)
        else:
            self._troubles.ended("required-image-missing", "required-images-all-here")


def _name(state: State, key: str) -> str:
    """The name of an image that is gone."""
    gone = state.memory.gone.get(key)
    return image_name(gone.names if gone else (), f"sha256:{key}")
