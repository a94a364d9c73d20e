"""The removals that are remembered, and the one in progress."""

from __future__ import annotations

from dataclasses import dataclass, field

from .facts import RemovalPlanned
from .inventory import image_key
from .ledger import RemovalRecord
from .removal import Removal


@dataclass(frozen=True, slots=True)
class Refusal:
    """The runtime refused to remove an image, or answered OK and did not remove it."""

    until: float
    count: int
    reason: str


@dataclass(slots=True)
class Removals:
    """Removals and refusals; dicts and sets are by image key."""

    records: dict[str, RemovalRecord] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    planned: RemovalPlanned | None = None  # before the last look
    under_way: Removal | None = None  # sent, and not yet confirmed by a listing
    changed: set[str] = field(default_factory=set)  # since the ledger was last written
    inherited: set[str] = field(default_factory=set)  # begun by another process, not answered
    gone_by_others: tuple[str, ...] = ()  # removed by others between the last two listings
    came_back: tuple[str, ...] = ()  # removed by us, and listed again in the last listing
    # Removed by others, though we had requested their removal before.
    not_ours: set[str] = field(default_factory=set)

    def take_changes(self) -> dict[str, RemovalRecord | None]:
        """Returns what is to be written to the ledger; None: to be deleted."""
        changes = {key: self._as_written(key) for key in self.changed}
        self.changed.clear()
        return changes

    def _as_written(self, key: str) -> RemovalRecord | None:
        planned = self.planned
        if planned is not None and image_key(planned.image_id) == key:
            return RemovalRecord(begun_at=planned.at, names=planned.names)
        return self.records.get(key)
