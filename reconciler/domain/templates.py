"""Which images the pods of one template used here: their twins will ask for the same.

kubelet gives a pod's labels to its sandbox (our measurement, docs/runtimes.md), and controllers
label pods by what they made them from. What a pod will need for a container that it has not made
yet (the main container while an init container runs, an init container after a restart) is known
by this, without asking anybody but the runtime.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping

from .inventory import Template
from .ledger import TemplateRecord, Used

# By what a controller made a pod from: a Deployment's ReplicaSet; a StatefulSet or DaemonSet.
EXACT_LABELS = ("pod-template-hash", "controller-revision-hash")
JOB_LABELS = ("batch.kubernetes.io/job-name", "job-name")
TEMPLATES_KEPT = 1_000
CONTAINERS_KEPT = 64  # of one exact template, those made last
IMAGES_KEPT = 200  # of one container, keys and names
ALIKE_KEPT = 8  # of pods that are only named alike, which may be of many kinds
KEPT_FOR = 30 * 86400.0  # seconds since a pod of it was there
SETTLED_AFTER = 60.0  # seconds until all containers of a template's first pod are surely known
SAID_AGAIN = 3600.0  # seconds between writes of a template that goes on as it was

# How a CronJob names its Jobs: by the minute, before Kubernetes 1.21 by the second.
_SCHEDULED = re.compile(r"-\d{8,10}$")
# How controllers name pods: an ordinal, or five characters of their own alphabet, with or without
# a hash before them.
_MADE_UP = re.compile(r"(-[a-z0-9]{8,10})?-[bcdfghjklmnpqrstvwxz2456789]{5}$|-\d+$")


@functools.lru_cache(maxsize=8192)
def _template(name: str, exact: bool) -> Template:
    """One value for all sandboxes of a template."""
    return Template(name, exact)


def template_of(namespace: str, pod: str, labels: Mapping[str, str]) -> Template:
    """The template that a pod's labels tell of, or else what its name begins with."""
    for label in EXACT_LABELS:
        value = labels.get(label)
        if value:
            return _template(f"{namespace}/{label}={value}", True)
    for label in JOB_LABELS:
        job = labels.get(label)
        if job:
            prefix = _SCHEDULED.sub("-*", job)
            return _template(f"{namespace}/job-name={prefix}", prefix == job)
    return _template(f"{namespace}/{_MADE_UP.sub('-*', pod)}", False)


def _later(known: Used, used: Used, now: float, whole: bool) -> Used:
    """What containers of one name used, by what was known and what is told now."""
    if used.made_at < known.made_at <= now:
        return known
    if whole and used.made_at != known.made_at and known.made_at <= now:
        return used
    both = tuple(dict.fromkeys((*known.images, *used.images)))
    return Used(max(used.made_at, known.made_at), both[-IMAGES_KEPT:])


class Templates:
    """Records by a template's name, the one that was used longest ago first."""

    def __init__(self) -> None:
        self.records: dict[str, TemplateRecord] = {}
        self.changed: set[str] = set()
        self.noted: set[str] = set()  # containers of which all was told that they use

    def remember(self, told: Mapping[str, TemplateRecord]) -> None:
        """Takes over what the ledger holds."""
        self.records = dict(sorted(told.items(), key=lambda one: one[1].last_seen))

    def note(
        self, template: Template, container: str, used: Used, now: float, *, whole: bool = True
    ) -> None:
        """A container of a pod of a template was made from an image and mounts others. Of two with
        one name the one made last tells. What adds up instead: what is told of one and the same,
        whose images may have other tags by now; what is not the whole, since a list lacks an image
        or nobody can tell it; and two of which nobody can tell the last, since the clock was set
        back between them."""
        before = self.records.pop(template.name, None)
        record = before or TemplateRecord(first_seen=now, last_seen=now)
        known = record.used.get(container)
        if known is not None:
            used = _later(known, used, now, whole)
        if used != known:
            all_used = {**record.used, container: used}
            if len(all_used) > (CONTAINERS_KEPT if template.exact else ALIKE_KEPT):
                del all_used[min(all_used, key=lambda name: all_used[name].made_at)]
            record = TemplateRecord(record.first_seen, now, all_used)
        self.records[template.name] = record
        if record is not before:
            self.changed.add(template.name)
            self._trim(now)

    def see(self, template: Template, now: float) -> None:
        """A pod of a template is there: what is remembered of it is not old."""
        record = self.records.get(template.name)
        if record is not None and now - record.last_seen >= SAID_AGAIN:
            del self.records[template.name]
            self.records[template.name] = TemplateRecord(record.first_seen, now, record.used)
            self.changed.add(template.name)

    def _trim(self, now: float) -> None:
        """Forgets what is too many or too old; what was used longest ago stands first."""
        for name in list(self.records):
            old = now - self.records[name].last_seen > KEPT_FOR
            if not old and len(self.records) <= TEMPLATES_KEPT:
                break
            del self.records[name]
            self.changed.add(name)

    def settled(self, template: Template | None, now: float) -> bool:
        """Whether all that pods of a template ask for is known."""
        record = self.records.get(template.name) if template and template.exact else None
        return record is not None and now - record.first_seen >= SETTLED_AFTER

    def used_by(self, template: Template) -> Iterator[tuple[str, str]]:
        """What pods of a template used: (container, image key or name)."""
        record = self.records.get(template.name)
        for container, used in record.used.items() if record else ():
            for text in used.images:
                yield container, text
