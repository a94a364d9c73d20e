"""What is remembered of images, on the node and gone, and how what is seen changes it.

The loop's state owns one `Memory`; `engine` writes its changes to the ledger. Everything here may
be reported twice and counts once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from .inventory import Container, Image
from .ledger import Arrival, ImageRecord, LogLine, Remembered
from .origin import names_before
from .ranking.tag_series import tag_series
from .ranking.use_rate import started, was_idle

GONE_IMAGES_KEPT = 5_000
GONE_IMAGES_KEPT_FOR = 14 * 86400.0  # seconds
SWEPT_EVERY = 3600.0
REPOSITORIES_KEPT = 16  # of each image, beside those it is listed under
GONE_CONTAINERS_KEPT = 2_000  # their ids, once counted: against late events


class Memory:
    """Records by image key. `images` are those on the node, as listed last."""

    def __init__(self) -> None:
        self.images: dict[str, ImageRecord] = {}
        self.gone: dict[str, ImageRecord] = {}  # images that were here
        self.arrivals: dict[str, Arrival] = {}
        self.running: dict[str, str] = {}  # container id -> image key: started, not seen to end
        self.log: list[LogLine] = []
        self.changed: set[str] = set()
        self.changed_arrivals: set[str] = set()
        self._counted: set[str] = set()  # ids of containers, of those not seen to end
        self._gone_containers: OrderedDict[str, None] = OrderedDict()  # of those that are
        self._swept_at = 0.0

    def record(self, key: str, now: float) -> ImageRecord:
        """An image's record; one we know nothing of counts as seen just now."""
        return self.images.get(key) or ImageRecord(first_seen=now)

    def remember(self, saved: Remembered) -> None:
        """Takes over what the ledger holds, before anything is seen."""
        self.images, self.gone = dict(saved.images), dict(saved.gone)
        self.arrivals, self.running = dict(saved.arrivals), dict(saved.running)

    # --- images --------------------------------------------------------------------------------

    def meet(
        self, listed: dict[str, Image], first_made: Callable[[str], float | None], now: float
    ) -> list[str]:
        """Takes in which images there are; gives the keys of those that were not there before.
        `first_made` returns when the oldest container of an image was made: the image was there by
        then, however late it is listed."""
        begins = not self.images and not self.gone and not self._swept_at
        fresh = [key for key in listed if key not in self.images]
        for key in fresh:
            made = first_made(key)
            seen = now if made is None else min(now, made)
            self.arrive(listed[key], seen, newest=made is not None or not begins)
            if not begins:
                self.log.append(LogLine(seen, key))
        for key in self.images.keys() - listed.keys():
            self.leave(key, now)
        for key, image in listed.items():
            self._describe(key, image)
        if now - self._swept_at >= SWEPT_EVERY:
            self.sweep(now)
        return fresh

    def arrive(self, image: Image, seen: float, *, newest: bool = True) -> None:
        """An image is on the node, first seen then. `newest`: it was not here before us, so it is
        the newest of its series."""
        key = image.key
        before = self.gone.pop(key, None)
        if before is not None:
            self.images[key] = replace(before, first_seen=seen, gone_at=None)
            self._describe(key, image)
        else:
            names = image.tags or image.digests
            self.images[key] = ImageRecord(first_seen=seen, names=names, size=image.size)
        self.changed.add(key)
        if before is not None or not newest:
            return  # it came back, or was here before us: it is no new version of anything
        for name in image.tags or image.digests:
            for series, repository in tag_series((name,)):
                self._newest(series, Arrival(seen, key, name))
                self._newest(repository, Arrival(seen, key, name))

    def _newest(self, of: str, arrival: Arrival) -> None:
        known = self.arrivals.get(of)
        if "@" not in of and (known is None or arrival.at > known.at):
            self.arrivals[of] = arrival
            self.changed_arrivals.add(of)

    def leave(self, key: str, now: float) -> None:
        """An image is gone from the node; its record is kept for a while."""
        self.gone[key] = replace(self.images.pop(key), gone_at=now)
        self.changed.add(key)

    def _describe(self, key: str, image: Image) -> None:
        """Remembers names and size. An image that lost its tags goes on under the last it had, and
        of repositories that it is not listed under any more, which only CRI-O's lists leave out,
        its names by digest are remembered."""
        record = self.images[key]
        names = record.names or image.digests
        if image.tags and names != image.tags:
            before = names_before(image.names, names)
            names = (*image.tags, *before[:REPOSITORIES_KEPT])
        if record.names != names or record.size != image.size:
            self.images[key] = replace(record, names=names, size=image.size)
            self.changed.add(key)

    def sweep(self, now: float) -> None:
        """Forgets images long gone or too many, and arrivals that no record can ask for."""
        self._swept_at = now
        gone_at = {key: record.gone_at or 0.0 for key, record in self.gone.items()}
        by_age = sorted(self.gone, key=lambda key: (gone_at[key], key))
        too_many = len(by_age) - GONE_IMAGES_KEPT
        for number, key in enumerate(by_age):
            if number < too_many or now - gone_at[key] > GONE_IMAGES_KEPT_FOR:
                del self.gone[key]
                self.changed.add(key)
        records = [*self.images.values(), *self.gone.values()]
        asked = {of for record in records for pair in tag_series(record.names) for of in pair}
        for of in self.arrivals.keys() - asked:
            del self.arrivals[of]
            self.changed_arrivals.add(of)

    def seen_anew(self, key: str, at: float) -> None:
        """An image counts as seen then for the first time, if it was not seen later still."""
        record = self.images.get(key)
        if record is not None and record.first_seen < at:
            self.images[key] = replace(record, first_seen=at)
            self.changed.add(key)

    # --- uses ----------------------------------------------------------------------------------

    def count(
        self,
        container: Container,
        keys: frozenset[str],
        began_at: float,
        opening: frozenset[str],
    ) -> None:
        """Counts one use of its images for a container seen for the first time. One made before
        we started (`began_at`) may be in the ledger's count: it is, unless it is younger than the
        newest counted. `opening`: those of its images that no older container uses."""
        known = keys & self.images.keys()
        if not known or not self.uncounted(container.id):
            return
        self._counted.add(container.id)
        for key in known:
            record = self.images[key]
            made = container.created_at
            if made <= min(record.last_started or 0.0, began_at):
                continue
            self.images[key] = started(record, made, opens=key in opening)
            self.changed.add(key)
            self.log.append(LogLine(made, key, container.id))
            self.running[container.id] = key

    def rested(self, key: str, at: float) -> bool:
        """Whether a container made then could open a new use of an image."""
        record = self.images.get(key)
        return record is not None and was_idle(record, at)

    def uncounted(self, container_id: str) -> bool:
        return container_id not in self._counted and container_id not in self._gone_containers

    def end(self, container_id: str, at: float) -> None:
        """A container is gone."""
        key = self.running.pop(container_id, None)
        if key is not None:
            self.log.append(LogLine(at, key, container_id, ended=True))
        if container_id in self._counted:
            self._counted.remove(container_id)
            self._gone_containers[container_id] = None
            if len(self._gone_containers) > GONE_CONTAINERS_KEPT:
                self._gone_containers.popitem(last=False)

    def trim(self, listed: dict[str, Container], now: float) -> None:
        """Ends what a listing does not hold any more."""
        for container_id in (self.running.keys() | self._counted) - listed.keys():
            self.end(container_id, now)

    def touch(self, key: str, at: float) -> None:
        """A user of an image was seen."""
        record = self.images.get(key)
        if record is not None and (record.last_used is None or at > record.last_used):
            self.images[key] = replace(record, last_used=at)
            self.changed.add(key)
