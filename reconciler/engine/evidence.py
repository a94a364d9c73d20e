"""What a removal was decided on, gathered while it happens: for the log and for the history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..domain.decision import Candidate, account, why
from ..domain.facts import ContainerChanged, Fact, Listed, RemovalFinished
from ..domain.inventory import Container, EventKind, image_key
from ..domain.space import Removed
from ..domain.state import State
from ..domain.watermark import FilesystemState
from ..history import Entry


@dataclass(frozen=True, slots=True)
class _Begun:
    candidate: Candidate
    why: str
    account: str
    listed_at: float | None
    filesystem: FilesystemState | None


class LastUsers:
    """Who was seen using an image last, in words: `main of default/web-1`. From the events and
    listings since the start; a container costs a look-up, a new one a little more."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}  # ids of containers that are not gone
        self._last: dict[str, str] = {}  # image key -> its user

    def absorbed(self, fact: Fact, state: State) -> None:
        """Hears a fact that the state has absorbed already."""
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
        """The last user of an image; empty where none was seen."""
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
    """Between `began` and `finished`: one removal, since there is one at a time."""

    def __init__(self) -> None:
        self.last_users = LastUsers()
        self._begun: _Begun | None = None
        self._entries: list[Entry] = []  # until they are written
        self._unshown: dict[str, Entry] = {}  # by image id

    def take(self) -> list[Entry]:
        """The removals finished since the last call, for the history."""
        entries, self._entries = self._entries, []
        return entries

    def began(self, candidate: Candidate, state: State, at: float) -> str:
        """Notes what is known right before the call; why the image goes, in a clause."""
        begun = self._begun = _Begun(
            candidate,
            why(candidate, at),
            account(candidate, state, at),
            state.listed_at,
            fullest(state),
        )
        return begun.why

    def finished(self, fact: RemovalFinished, state: State) -> Entry | None:
        """The removal as the history keeps it, for people: its times are the wall clock's. None
        for one that was not begun here."""
        begun, self._begun = self._begun, None
        if begun is None or begun.candidate.image.id != fact.image_id:
            return None
        before, record = begun.filesystem, begun.candidate.record
        after = state.filesystems.get(before.usage.mountpoint) if before else None
        shown = shown_of(fact, state)
        entry = Entry(
            at=state.wall(fact.at),
            image_id=fact.image_id,
            names=fact.names,
            outcome=fact.outcome,
            cause=fact.cause,
            why=begun.why,
            error=fact.error if fact.left is None else fact.trouble,
            took=fact.took,
            size=begun.candidate.image.size,
            expected=fact.expected,
            freed=shown.freed if shown else None,
            first_seen=state.wall(record.first_seen),
            last_used=None if record.last_used is None else state.wall(record.last_used),
            last_user=self.last_users.of(image_key(fact.image_id)),
            uses=record.uses,
            listed_at=None if begun.listed_at is None else state.wall(begun.listed_at),
            mountpoint=before.usage.mountpoint if before else "",
            used_before=before.usage.used if before else 0,
            used_after=after.usage.used if after else 0,
            high=before.high if before else 0,
            low=before.low if before else 0,
            about=shown.about if shown else False,
            account=begun.account,
        )
        self._entries.append(entry)
        if fact.gone and shown is None and fact.gains:
            self._unshown[fact.image_id] = entry
        return entry

    def shown(self, removed: Removed) -> str:
        """What an image freed showed later; its entry is written once more. Gives the filesystem
        that it was removed for, or nothing if it was not begun here."""
        entry = self._unshown.pop(removed.image_id, None)
        if entry is None:
            return ""
        self._entries.append(replace(entry, freed=removed.freed, about=removed.about))
        return entry.mountpoint


def shown_of(fact: RemovalFinished, state: State) -> Removed | None:
    """What a removal freed, which the state has absorbed just now; None: not known yet."""
    return next((one for one in state.shown if one.image_id == fact.image_id), None)


def fullest(state: State) -> FilesystemState | None:
    """The filesystem that removals are for: the one furthest over its low mark."""
    filesystems = state.filesystems.values()
    return max(filesystems, key=lambda fs: (fs.bytes_over_low, fs.used_percent), default=None)
