"""Which images the pods of one template used here: others of the template will need the same.

kubelet gives a pod's labels to its sandbox (our measurement, docs/runtimes.md), and controllers
label pods by what they made them from. This shows, without asking anything but the runtime, which
images a pod will need for a container that it has not made yet (the main container while an init
container runs, an init container after a restart).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping

from .inventory import Template
from .ledger import TemplateRecord, Used

# They identify what a controller made a pod from: a ReplicaSet; a StatefulSet or DaemonSet.
EXACT_LABELS = ("pod-template-hash", "controller-revision-hash")
JOB_LABELS = ("batch.kubernetes.io/job-name", "job-name")
TEMPLATES_KEPT = 1_000
CONTAINERS_KEPT = 64  # of one exact template, the newest
IMAGES_KEPT = 200  # of one container, keys and names
SIMILAR_KEPT = 8  # of pods with similar names alone, which may be of many kinds
KEPT_FOR = 30 * 86400.0  # seconds since a pod of the template was last seen
SETTLED_AFTER = 60.0  # seconds until all containers of a template's first pod are surely known
REWRITTEN_AFTER = 3600.0  # seconds between writes of an unchanged template that is in use

# A CronJob names its Jobs by the minute; before Kubernetes 1.21, by the second.
_SCHEDULED = re.compile(r"-\d{8,10}$")
# Controllers name pods by an ordinal, or by five characters of an alphabet of their own, with or
# without a hash before them.
_GENERATED = re.compile(r"(-[a-z0-9]{8,10})?-[bcdfghjklmnpqrstvwxz2456789]{5}$|-\d+$")


@functools.lru_cache(maxsize=8192)
def _template(name: str, exact: bool) -> Template:
    """Returns one shared value for all sandboxes of a template."""
    return Template(name, exact)


def template_of(namespace: str, pod: str, labels: Mapping[str, str]) -> Template:
    """Returns the template by a pod's labels, or else by what its name begins with."""
    for label in EXACT_LABELS:
        value = labels.get(label)
        if value:
            return _template(f"{namespace}/{label}={value}", True)
    for label in JOB_LABELS:
        job = labels.get(label)
        if job:
            prefix = _SCHEDULED.sub("-*", job)
            return _template(f"{namespace}/job-name={prefix}", prefix == job)
    return _template(f"{namespace}/{_GENERATED.sub('-*', pod)}", False)


def _merged(known: Used, used: Used, now: float, whole: bool) -> Used:
    """Returns what containers of one name used, by what was known and what is reported now."""
    if used.made_at < known.made_at <= now:
        return known
    if whole and used.made_at != known.made_at and known.made_at <= now:
        return used
    both = tuple(dict.fromkeys((*known.images, *used.images)))
    return Used(max(used.made_at, known.made_at), both[-IMAGES_KEPT:])


class Templates:
    """Records by a template's name, the least recently used first."""

    def __init__(self) -> None:
        self.records: dict[str, TemplateRecord] = {}
        self.changed: set[str] = set()
        self.noted: set[str] = set()  # containers whose images are all recorded

    def remember(self, saved: Mapping[str, TemplateRecord]) -> None:
        """Loads what the ledger holds."""
        self.records = dict(sorted(saved.items(), key=lambda one: one[1].last_seen))

    def note(
        self, template: Template, container: str, used: Used, now: float, *, whole: bool = True
    ) -> None:
        """Records the images that a container of a template's pod was made from and mounts. Of two
        containers with one name the newer counts. Their images are merged instead for reports of
        the same container, whose images may have other tags by now; if the report is incomplete,
        since a list lacks an image or it is unknown; and if it is unknown which one is newer, since
        the clock was set back between them."""
        before = self.records.pop(template.name, None)
        record = before or TemplateRecord(first_seen=now, last_seen=now)
        known = record.used.get(container)
        if known is not None:
            used = _merged(known, used, now, whole)
        if used != known:
            all_used = {**record.used, container: used}
            if len(all_used) > (CONTAINERS_KEPT if template.exact else SIMILAR_KEPT):
                del all_used[min(all_used, key=lambda name: all_used[name].made_at)]
            record = TemplateRecord(record.first_seen, now, all_used)
        self.records[template.name] = record
        if record is not before:
            self.changed.add(template.name)
            self._trim(now)

    def see(self, template: Template, now: float) -> None:
        """A pod of a template was seen: what is remembered of the template stays."""
        record = self.records.get(template.name)
        if record is not None and now - record.last_seen >= REWRITTEN_AFTER:
            del self.records[template.name]
            self.records[template.name] = TemplateRecord(record.first_seen, now, record.used)
            self.changed.add(template.name)

    def _trim(self, now: float) -> None:
        """Deletes the least recently used records while there are too many, and those too old."""
        while self.records:
            name, first = next(iter(self.records.items()))
            if now - first.last_seen <= KEPT_FOR and len(self.records) <= TEMPLATES_KEPT:
                break
            del self.records[name]
            self.changed.add(name)

    def settled(self, template: Template | None, now: float) -> bool:
        """Whether all images that pods of a template ask for are known."""
        record = self.records.get(template.name) if template and template.exact else None
        return record is not None and now - record.first_seen >= SETTLED_AFTER

    def used_by(self, template: Template) -> Iterator[tuple[str, str]]:
        """Yields what pods of a template used: (container, image key or name)."""
        record = self.records.get(template.name)
        for container, used in record.used.items() if record else ():
            for text in used.images:
                yield container, text
