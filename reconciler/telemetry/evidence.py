"""Why each removal was decided and what it resulted in, for the log and the history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..domain.facts import ContainerChanged, Fact, Listed, RemovalFinished
from ..domain.inventory import Container, EventKind
from ..domain.space import Removed
from ..domain.state import State
from ..store.history import Entry


class LastUsers:
    """The last seen user of each image, in words: `main of default/web-1`. From the events and
    listings since the start; a container costs a look-up, a new one a little more."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}  # ids of containers that still exist
        self._last: dict[str, str] = {}  # image key -> its user

    def absorbed(self, fact: Fact, state: State) -> None:
        """Takes note of a fact that the state has absorbed already."""
        match fact:
            case ContainerChanged(event):
                self._notice(event.containers, state)
                if event.kind is EventKind.DELETED:
                    self._seen.pop(event.subject_id, None)
            case Listed(listing):
                newest = sorted(listing.containers, key=lambda container: container.created_at)
                self._notice(newest, state)
                self._seen = dict.fromkeys(container.id for container in newest)
                for key in self._last.keys() - state.graph.images.keys():
                    del self._last[key]

    def of(self, key: str) -> str:
        """The last user of an image; empty if none was seen."""
        return self._last.get(key, "")

    def _notice(self, containers: Iterable[Container], state: State) -> None:
        for container in containers:
            if container.id in self._seen:
                continue
            self._seen[container.id] = None
            sandbox = state.graph.sandboxes.get(container.sandbox_id)
            name = f"{container.name} of {sandbox.name}" if sandbox else container.name
            for key in state.graph.images_of(container):
                self._last[key] = name


class Evidence:
    """Collects finished removals as entries for the history."""

    def __init__(self) -> None:
        self.last_users = LastUsers()
        self._entries: list[Entry] = []  # not yet written
        self._unshown: dict[str, Entry] = {}  # by image id: freed space that does not show yet

    def take(self) -> list[Entry]:
        """The removals finished since the last call, for the history."""
        entries, self._entries = self._entries, []
        return entries

    def finished(self, fact: RemovalFinished, state: State) -> Entry:
        """The removal as an entry of the history, for people: its times are wall clock times."""
        removal, record, before = fact.removal, fact.removal.record, fact.removal.filesystem
        after = state.disks.filesystems.get(before.usage.mountpoint) if before else None
        shown = shown_of(fact, state)
        entry = Entry(
            at=state.wall(fact.at),
            image_id=removal.image.id,
            names=removal.names,
            outcome=fact.outcome,
            cause=removal.cause,
            why=removal.why,
            error=fact.error if fact.left is None else fact.trouble,
            took=fact.took,
            size=removal.image.size,
            expected=removal.expected,
            freed=shown.freed if shown else None,
            first_seen=state.wall(record.first_seen),
            last_used=None if record.last_used is None else state.wall(record.last_used),
            last_user=self.last_users.of(removal.image.key),
            uses=record.uses,
            listed_at=None if removal.listed_at is None else state.wall(removal.listed_at),
            mountpoint=before.usage.mountpoint if before else "",
            used_before=before.usage.used if before else 0,
            used_after=after.usage.used if after else 0,
            high=before.high if before else 0,
            low=before.low if before else 0,
            about=shown.approximate if shown else False,
            account=removal.explanation,
        )
        self._entries.append(entry)
        if fact.gone and shown is None and fact.gains:
            self._unshown[removal.image.id] = entry
        return entry

    def shown(self, removed: Removed) -> str:
        """Updates the entry of a removal whose freed space shows only now, to be written again.
        Returns the mountpoint it was removed for, or "" for an image that is not waited for."""
        entry = self._unshown.pop(removed.image_id, None)
        if entry is None:
            return ""
        self._entries.append(replace(entry, freed=removed.freed, about=removed.approximate))
        return entry.mountpoint


def shown_of(fact: RemovalFinished, state: State) -> Removed | None:
    """What the removal that the state has just absorbed freed; None: not known yet."""
    return next((one for one in state.disks.shown if one.image_id == fact.removal.image.id), None)
