"""Updates the metrics from facts and plans, and exports them for Prometheus."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeVar, cast

from prometheus_client import Counter as Total
from prometheus_client import Gauge
from prometheus_client.exposition import choose_encoder

from ..domain import facts
from ..domain.awaited import SOURCES
from ..domain.decision import HoldReason
from ..domain.inventory import Listing
from ..domain.lookup import missing_required
from ..domain.missing import missing_awaited
from ..domain.neutral import neutralised
from ..domain.plan import Plan
from ..domain.policy import Mode
from ..domain.protections.protection import Kind
from ..domain.state import State
from ..domain.watermark import Pressure
from .instruments import Instruments

M = TypeVar("M", Gauge, Total)


class Metrics(Instruments):
    """Written by the journal, read by the HTTP server."""

    def __init__(self) -> None:
        super().__init__()
        self._children: dict[tuple[object, tuple[str, ...]], Any] = {}
        self._crossed: dict[str, float] = {}  # mountpoint -> when it crossed its high mark
        self.had_pod_source = False
        # When a high mark was crossed, until a removal begins.
        self._unanswered: float | None = None

    def _labels(self, metric: M, *labels: str) -> M:
        """A metric with its labels. Near a mark twenty are set ten times a second, and the
        library's own look-up takes a lock and as long as everything else together."""
        key = metric, labels
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = metric.labels(*labels)
        return cast("M", found)

    def absorbed(self, fact: facts.Fact, state: State) -> None:
        """Counts one fact."""
        match fact:
            case facts.ContainerChanged():
                self._labels(self.events, fact.event.kind.name.lower()).inc()
            case facts.EventsOpened():
                self.stream.set(1)
                self.opened.inc()
            case facts.EventsAbsent():
                self.stream.set(0)
            case facts.EventsLost():
                self.stream.set(0)
                self.lost.inc()
            case facts.Listed():
                self._labels(self.listings, "ok").inc()
                self._listed(fact.listing, state)
            case facts.ListingFailed():
                self._labels(self.listings, "failed").inc()
            case facts.PolicyLoaded():
                self._labels(self.policies, "ok").inc()
                self.policy_loaded.set(state.wall(fact.at))
                self.policy_valid.set(1)
                self.enforcing.set(fact.policy.mode is Mode.ENFORCE)
            case facts.PolicyRejected():
                self._labels(self.policies, "refused").inc()
                self.policy_valid.set(0)
            case facts.UsageSampled():
                self._sampled(state)
                self.freed.inc(state.disks.bytes_shown)
            case facts.RemovalBegun():
                self._removing(fact.at)
            case facts.RemovalSpared():
                self.spared.inc()
            case facts.RemovalFinished():
                self._removed(fact)
                self.freed.inc(state.disks.bytes_shown)
            case facts.PodsReported() | facts.PodReported() | facts.PodGone():
                self.had_pod_source = True
                self._pods(state, fact.at)
            case facts.PodsLost():
                self.pods_lost.inc(self.had_pod_source)
                self._pods(state, fact.at)
            case facts.RemoverReported():
                self.remover.set(fact.ours)
            case facts.Paused() | facts.Resumed():
                self.paused.set(state.operator.paused_at is not None)

    def _listed(self, listing: Listing, state: State) -> None:
        images = state.graph.images
        self.listed.set(state.wall(listing.began_at))
        self.listing_seconds.observe(max(0.0, listing.ended_at - listing.began_at))
        self.images.set(len(images))
        self.image_bytes.set(sum(image.size for image in images.values()))
        self.anonymous.set(sum(not image.names for image in images.values()))
        self.lost_in_use.set(sum(key not in images for key in state.graph.used_keys()))
        self.awaited_missing.set(len(missing_awaited(state, listing.ended_at)))
        self.by_others.inc(len(state.removals.gone_by_others))
        if state.operator.policy is not None:
            self.required_missing.set(len(missing_required(state.operator.policy, state.graph)))

    def _pods(self, state: State, at: float) -> None:
        self.pods.set(sum(1 for _ in state.pods.awaited.starting(at)))
        for source in SOURCES:
            self._labels(self.pod_source, source).set(state.pods.awaited.source == source)

    def _sampled(self, state: State) -> None:
        for fs in state.disks.filesystems.values():
            mountpoint = neutralised(fs.usage.mountpoint)
            self._labels(self.used, mountpoint).set(fs.usage.used)
            self._labels(self.capacity, mountpoint).set(fs.usage.capacity)
            self._labels(self.inodes, mountpoint).set(fs.usage.used_inodes)
            self._labels(self.all_inodes, mountpoint).set(fs.usage.total_inodes)
            self._labels(self.marks, mountpoint, "high").set(fs.high)
            self._labels(self.marks, mountpoint, "low").set(fs.low)
            if fs.margin is not None:
                self._labels(self.margin, mountpoint).set(fs.margin)
            self._labels(self.wanted, mountpoint).set(fs.bytes_over_low)
            self._labels(self.reclaiming, mountpoint).set(fs.pressure is Pressure.RECLAIMING)

    def crossed(self, mountpoint: str, at: float) -> None:
        """A filesystem reached its high mark."""
        self.reclaims.inc()
        self._crossed[mountpoint] = self._unanswered = at

    def reached(self, mountpoint: str, at: float) -> None:
        """A filesystem is back at its low mark."""
        began, self._unanswered = self._crossed.pop(mountpoint, None), None
        if began is not None:
            self.reclaim_seconds.observe(at - began)

    def _removing(self, at: float) -> None:
        """A RemoveImage is about to be sent."""
        began, self._unanswered = self._unanswered, None
        if began is not None:
            self.first_seconds.observe(at - began)

    def _removed(self, fact: facts.RemovalFinished) -> None:
        self._labels(self.removals, fact.outcome, fact.removal.cause).inc()
        self.call_seconds.observe(fact.took)
        if fact.gone:
            self.expected.inc(fact.removal.expected)

    def decided(self, plan: Plan, state: State) -> None:
        """Sets the gauges that show a plan."""
        self.candidates.set(len(plan.candidates))
        self.candidate_bytes.set(sum(one.image.size for one in plan.candidates))
        kinds = Counter(kept.protections[0].kind for kept in plan.kept)
        for kind in Kind:
            self._labels(self.protected, kind.value).set(kinds[kind])
        for reason in HoldReason:
            self._labels(self.holds, reason.value).set(
                plan.hold is not None and plan.hold.reason is reason
            )
        self.unresolved.set(len(state.graph.unresolved))

    def text(self, openmetrics: bool = False) -> tuple[bytes, str]:
        """The exposition and its content type: OpenMetrics, or Prometheus text format. A scraper's
        own words never get here: `choose_encoder` raises TypeError or ValueError for a version that
        is none (prometheus_client/exposition.py)."""
        encode, kind = choose_encoder("application/openmetrics-text" if openmetrics else "")
        return encode(self.registry), kind
