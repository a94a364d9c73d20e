"""The metrics, in a registry of their own. Names follow Prometheus' conventions: units as suffixes,
`_total` on counters; no label holds an image's name."""

from __future__ import annotations

from collections import Counter

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as Total
from prometheus_client.exposition import generate_latest

from .domain import facts
from .domain.decision import HoldReason, Plan
from .domain.policy import Mode
from .domain.protection import Kind
from .domain.state import State
from .domain.watermark import Pressure

BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600)


class Metrics:
    """Everything that is counted and gauged; fed by the journal, read by the HTTP face."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges()
        self._totals()

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"reconciler_{name}", text, labels, registry=self.registry)

    def _total(self, name: str, text: str, *labels: str) -> Total:
        return Total(f"reconciler_{name}", text, labels, registry=self.registry)

    def _gauges(self) -> None:
        fs = "mountpoint"
        self.used = self._gauge("filesystem_used_bytes", "In use on an image filesystem.", fs)
        self.capacity = self._gauge("filesystem_capacity_bytes", "Capacity of it.", fs)
        self.inodes = self._gauge("filesystem_used_inodes", "Inodes in use on it.", fs)
        self.marks = self._gauge("watermark_bytes", "High and low mark in use.", fs, "mark")
        self.reclaiming = self._gauge("reclaiming", "1 between high and low mark.", fs)
        self.holds = self._gauge("hold", "1 for the reason that holds all removal.", "reason")
        self.candidates = self._gauge("candidate_images", "Images that nothing protects.")
        self.candidate_bytes = self._gauge("candidate_bytes", "Their listed sizes, summed.")
        self.protected = self._gauge("protected_images", "Images by first protection.", "kind")
        self.untold = self._gauge("unresolved_containers", "Containers of unknown image.")
        self.stream = self._gauge("event_stream_up", "1 while subscribed to events.")
        self.listed = self._gauge("last_listing_timestamp_seconds", "When the last one began.")
        self.policy_loaded = self._gauge("policy_loaded_timestamp_seconds", "Of the one in force.")
        self.policy_valid = self._gauge("policy_valid", "0 while the file on disk is refused.")
        self.enforcing = self._gauge("enforcing", "1 in mode enforce, 0 in observe.")
        self.ledger_ok = self._gauge("ledger_healthy", "0 while the ledger lives in memory only.")
        self.loop_lag = self._gauge("loop_lag_seconds", "By how much the last tick was late.")

    def _totals(self) -> None:
        self.events = self._total("events", "Container events absorbed, by kind.", "kind")
        self.lost = self._total("event_stream_losses", "Times the event stream was lost.")
        self.listings = self._total("listings", "Listings, by result.", "result")
        self.policies = self._total("policy_loads", "Policies read, by result.", "result")
        self.removals = self._total("removals", "Removals, by outcome.", "outcome", "cause")
        self.expected = self._total("removed_expected_bytes", "Estimated for what was removed.")
        self.freed = self._total("removed_bytes", "Measured after each removal, when positive.")
        self.spared = self._total("spared", "Removals given up at the last look.")
        self.returned = self._total("came_back", "Images back soon after we removed them.")
        self.call_seconds = Histogram(
            "reconciler_removal_seconds",
            "How long RemoveImage took.",
            buckets=BUCKETS,
            registry=self.registry,
        )

    # --- what the journal tells ----------------------------------------------------------------

    def absorbed(self, fact: facts.Fact, state: State) -> None:
        """Counts one fact."""
        match fact:
            case facts.ContainerChanged():
                self.events.labels(fact.event.kind.name.lower()).inc()
            case facts.EventsOpened() | facts.EventsAbsent():
                self.stream.set(isinstance(fact, facts.EventsOpened))
            case facts.EventsLost():
                self.stream.set(0)
                self.lost.inc()
            case facts.Listed():
                self.listings.labels("ok").inc()
                self.listed.set(fact.listing.began_at)
            case facts.ListingFailed():
                self.listings.labels("failed").inc()
            case facts.PolicyLoaded():
                self.policies.labels("ok").inc()
                self.policy_loaded.set(fact.at)
                self.policy_valid.set(1)
                self.enforcing.set(fact.policy.mode is Mode.ENFORCE)
            case facts.PolicyRejected():
                self.policies.labels("refused").inc()
                self.policy_valid.set(0)
            case facts.UsageSampled():
                self._sampled(state)
            case facts.RemovalFinished():
                self._removed(fact)

    def _sampled(self, state: State) -> None:
        for mountpoint, fs in state.filesystems.items():
            self.used.labels(mountpoint).set(fs.usage.used)
            self.capacity.labels(mountpoint).set(fs.usage.capacity)
            self.inodes.labels(mountpoint).set(fs.usage.used_inodes)
            self.marks.labels(mountpoint, "high").set(fs.high)
            self.marks.labels(mountpoint, "low").set(fs.low)
            self.reclaiming.labels(mountpoint).set(fs.pressure is Pressure.RECLAIMING)

    def _removed(self, fact: facts.RemovalFinished) -> None:
        outcome = "removed" if fact.gone else "refused"
        self.removals.labels(outcome, fact.cause).inc()
        self.call_seconds.observe(fact.took)
        if fact.gone:
            self.expected.inc(fact.expected)
            self.freed.inc(max(0, fact.freed or 0))

    def decided(self, plan: Plan, state: State) -> None:
        """Gauges of one plan."""
        self.candidates.set(len(plan.candidates))
        self.candidate_bytes.set(sum(one.image.size for one in plan.candidates))
        kinds = Counter(kept.protections[0].kind for kept in plan.kept)
        for kind in Kind:
            self.protected.labels(kind.value).set(kinds[kind])
        for reason in HoldReason:
            self.holds.labels(reason.value).set(
                plan.hold is not None and plan.hold.reason is reason
            )
        self.untold.set(len(state.graph.untold))

    def text(self) -> bytes:
        """The exposition, in Prometheus' text format."""
        return generate_latest(self.registry)
