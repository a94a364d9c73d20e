"""What the runtime reports of pods, as the judge keeps it: sandboxes, the containers in them, and
what those of one template used last. Templates are read from labels independently here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

READY = 0  # SANDBOX_READY
CONTROLLERS = ("pod-template-hash", "controller-revision-hash")
JOBS = ("batch.kubernetes.io/job-name", "job-name")


def template_of(namespace: str, labels: Mapping[str, str]) -> str | None:
    """What pods are surely made alike from, by their controller's label. A Job of a CronJob, which
    has the time in its name, is not sure."""
    for label in (*CONTROLLERS, *JOBS):
        value = labels.get(label)
        if value:
            dated = label in JOBS and re.search(r"-\d{8,10}$", value)
            return None if dated else f"{namespace} {label.rpartition('/')[2]} {value}"
    return None


@dataclass(frozen=True)
class Box:
    """A sandbox as reported."""

    template: str | None
    ready: bool
    uid: str
    created_at: float


@dataclass(frozen=True)
class Inside:
    """A container as reported: where, its name, and when it was made."""

    id: str
    sandbox: str
    name: str
    made: int  # ns
    ref: str


@dataclass(frozen=True)
class Used:
    """What the container of one name that was made last in a template used. Where two were made at
    once, or the clock was set between them, it is not clear which was the last."""

    container: str
    made: int
    clock: float  # how far the clock was set then
    images: frozenset[str]
    clear: bool = True


@dataclass
class Twins:
    """What outlives a restart with its ledger."""

    first: dict[str, float] = field(default_factory=dict)  # when a template was first reported
    used: dict[tuple[str, str], Used] = field(default_factory=dict)  # by template and container

    def copy(self) -> Twins:
        return Twins(dict(self.first), dict(self.used))

    def moved(self, step: float) -> Twins:
        return Twins({key: at + step for key, at in self.first.items()}, dict(self.used))


def box_of(sandbox: Any) -> Box:
    template = template_of(sandbox.metadata.namespace, sandbox.labels)
    return Box(template, sandbox.state == READY, sandbox.metadata.uid, sandbox.created_at / 1e9)


def inside_of(container: Any, sandbox: str) -> Inside:
    ref = container.image_id or container.image_ref
    return Inside(container.id, sandbox, container.metadata.name, container.created_at, ref)
