"""The metrics, in a registry of their own. Names follow Prometheus' conventions: units as suffixes,
`_total` on counters; no label holds an image's name."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeVar, cast

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as Total
from prometheus_client.exposition import choose_encoder

from .. import __version__
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

BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600)  # seconds
LONG = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)

M = TypeVar("M", Gauge, Total)


class Metrics:
    """Everything that is counted and gauged; fed by the journal, read by the HTTP face."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._labelled: dict[tuple[object, tuple[str, ...]], Any] = {}
        self._gauges()
        self._totals()
        self._crossed: dict[str, float] = {}  # mountpoint -> when it crossed its high mark
        self.told_of_pods = False  # whether a source ever told
        self._waiting: float | None = None  # crossed then, and nothing was removed since

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"reconciler_{name}", text, labels, registry=self.registry)

    def _total(self, name: str, text: str, *labels: str) -> Total:
        return Total(f"reconciler_{name}", text, labels, registry=self.registry)

    def _spans(self, name: str, text: str, buckets: tuple[float, ...] = BUCKETS) -> Histogram:
        return Histogram(f"reconciler_{name}", text, buckets=buckets, registry=self.registry)

    def _one(self, metric: M, *labels: str) -> M:
        """A metric's child. Near a mark twenty are set ten times a second, and the library's own
        way to one takes a lock and as long as all the rest."""
        key = metric, labels
        found = self._labelled.get(key)
        if found is None:
            found = self._labelled[key] = metric.labels(*labels)
        return cast("M", found)

    def _filesystem_gauges(self) -> None:
        fs = "mountpoint"
        self.used = self._gauge(
            "filesystem_used_bytes", "Bytes in use on an image filesystem, root's reserve too.", fs
        )
        self.capacity = self._gauge("filesystem_capacity_bytes", "Its capacity in bytes.", fs)
        self.inodes = self._gauge("filesystem_used_inodes", "Inodes in use on it.", fs)
        self.all_inodes = self._gauge(
            "filesystem_inodes", "Inodes it has; 0 where their number is not fixed.", fs
        )
        self.marks = self._gauge(
            "watermark_bytes", "The high and the low mark, as bytes in use.", fs, "mark"
        )
        self.margin = self._gauge(
            "watermark_margin_bytes",
            "Between an auto high mark and the lowest line at which kubelet acts.",
            fs,
        )
        self.wanted = self._gauge(
            "wanted_bytes", "Bytes to free until the low mark; 0 unless reclaiming by bytes.", fs
        )
        self.reclaiming = self._gauge(
            "reclaiming", "1 from the high mark until the low one is reached, else 0.", fs
        )

    def _gauges(self) -> None:
        self._filesystem_gauges()
        self.build = self._gauge("build_info", "1, with the version as a label.", "version")
        self.build.labels(__version__).set(1)
        self.holds = self._gauge(
            "hold", "1 for the reason that holds all removal, else 0.", "reason"
        )
        self.paused = self._gauge("paused", "1 while the operator has paused removal.")
        self.images = self._gauge("images", "Images listed.")
        self.image_bytes = self._gauge("image_bytes", "Their listed sizes, summed, in bytes.")
        self.anonymous = self._gauge("anonymous_images", "Images without any name.")
        self.candidates = self._gauge("candidate_images", "Images that nothing protects.")
        self.candidate_bytes = self._gauge("candidate_bytes", "Their listed sizes, in bytes.")
        self.protected = self._gauge(
            "protected_images", "Images kept, by the first protection that holds.", "kind"
        )
        self.untold = self._gauge("unresolved_containers", "Containers whose image is not told.")
        self.lost_in_use = self._gauge(
            "missing_images_in_use", "Images that containers run on and that are not listed."
        )
        self.awaited_missing = self._gauge(
            "missing_images_awaited",
            "Images that pods bound here need, may not pull (imagePullPolicy Never), and miss.",
        )
        self.pod_source = self._gauge(
            "pod_source", "1 for the source that tells of pods bound here, else 0.", "source"
        )
        self.pods = self._gauge("pods", "Pods bound here that a source told of, not finished.")
        self.required_missing = self._gauge(
            "required_images_missing", "Patterns of requiredImages that match no image here."
        )
        self.stream = self._gauge("event_stream_up", "1 while subscribed to container events.")
        self.listed = self._gauge(
            "last_listing_timestamp_seconds", "When the last complete listing began."
        )
        self.policy_loaded = self._gauge(
            "policy_loaded_timestamp_seconds", "When the policy in force was read."
        )
        self.policy_valid = self._gauge("policy_valid", "0 while the policy on disk is refused.")
        self.enforcing = self._gauge("enforcing", "1 in mode enforce, 0 in mode observe.")
        self.remover = self._gauge(
            "remover", "1 while this is the process that may remove images here, else 0."
        )
        self.ledger_ok = self._gauge(
            "ledger_healthy", "0 while ages and history live in memory only."
        )
        self.loop_lag = self._gauge(
            "loop_lag_seconds", "By how much the last tick of the loop was late."
        )

    def _totals(self) -> None:
        self.events = self._total("events", "Container events absorbed, by kind.", "kind")
        self.opened = self._total("event_stream_opens", "Subscriptions to container events.")
        self.lost = self._total("event_stream_losses", "Times the event stream was lost.")
        self.listings = self._total("listings", "Listings of the runtime, by result.", "result")
        self.policies = self._total("policy_loads", "Policies read, by result.", "result")
        self.reclaims = self._total("reclaims", "Times a high mark was crossed.")
        self.removals = self._total(
            "removals", "Images asked to be removed, by outcome and cause.", "outcome", "cause"
        )
        self.expected = self._total(
            "removed_expected_bytes", "Bytes that removals were estimated to free."
        )
        self.freed = self._total(
            "removed_bytes", "Bytes measured less in use after removals, where it was less."
        )
        self.spared = self._total("spared", "Removals given up at the last look before the call.")
        self.by_others = self._total(
            "images_removed_by_others", "Images gone from the node that we did not remove."
        )
        self.pods_lost = self._total(
            "pod_source_losses",
            "Times that a source of pods was lost, and tries to find one since.",
        )
        self.returned = self._total("came_back", "Images pulled again after we removed them.")
        self.node_events = self._total(
            "node_events", "Kubernetes Events on the Node object, by result.", "result"
        )
        self.call_seconds = self._spans("removal_seconds", "How long RemoveImage calls took.")
        self.listing_seconds = self._spans("listing_seconds", "How long complete listings took.")
        self.first_seconds = self._spans(
            "first_removal_seconds", "From a high mark crossed to the first RemoveImage."
        )
        self.reclaim_seconds = self._spans(
            "reclaim_seconds", "From a high mark crossed to the low one reached.", LONG
        )

    # --- what the journal tells ----------------------------------------------------------------

    def absorbed(self, fact: facts.Fact, state: State) -> None:
        """Counts one fact."""
        match fact:
            case facts.ContainerChanged():
                self._one(self.events, fact.event.kind.name.lower()).inc()
            case facts.EventsOpened():
                self.stream.set(1)
                self.opened.inc()
            case facts.EventsAbsent():
                self.stream.set(0)
            case facts.EventsLost():
                self.stream.set(0)
                self.lost.inc()
            case facts.Listed():
                self._one(self.listings, "ok").inc()
                self._listed(fact.listing, state)
            case facts.ListingFailed():
                self._one(self.listings, "failed").inc()
            case facts.PolicyLoaded():
                self._one(self.policies, "ok").inc()
                self.policy_loaded.set(state.wall(fact.at))
                self.policy_valid.set(1)
                self.enforcing.set(fact.policy.mode is Mode.ENFORCE)
            case facts.PolicyRejected():
                self._one(self.policies, "refused").inc()
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
            case facts.PodsTold() | facts.PodTold() | facts.PodGone():
                self.told_of_pods = True
                self._pods(state, fact.at)
            case facts.PodsLost():
                self.pods_lost.inc(self.told_of_pods)
                self._pods(state, fact.at)
            case facts.RemoverTold():
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
            self._one(self.pod_source, source).set(state.pods.awaited.source == source)

    def _sampled(self, state: State) -> None:
        for fs in state.disks.filesystems.values():
            mountpoint = neutralised(fs.usage.mountpoint)
            self._one(self.used, mountpoint).set(fs.usage.used)
            self._one(self.capacity, mountpoint).set(fs.usage.capacity)
            self._one(self.inodes, mountpoint).set(fs.usage.used_inodes)
            self._one(self.all_inodes, mountpoint).set(fs.usage.total_inodes)
            self._one(self.marks, mountpoint, "high").set(fs.high)
            self._one(self.marks, mountpoint, "low").set(fs.low)
            if fs.margin is not None:
                self._one(self.margin, mountpoint).set(fs.margin)
            self._one(self.wanted, mountpoint).set(fs.bytes_over_low)
            self._one(self.reclaiming, mountpoint).set(fs.pressure is Pressure.RECLAIMING)

    def crossed(self, mountpoint: str, at: float) -> None:
        """A filesystem reached its high mark."""
        self.reclaims.inc()
        self._crossed[mountpoint] = self._waiting = at

    def reached(self, mountpoint: str, at: float) -> None:
        """It is back at its low mark."""
        began, self._waiting = self._crossed.pop(mountpoint, None), None
        if began is not None:
            self.reclaim_seconds.observe(at - began)

    def _removing(self, at: float) -> None:
        """A RemoveImage is about to be sent."""
        began, self._waiting = self._waiting, None
        if began is not None:
            self.first_seconds.observe(at - began)

    def _removed(self, fact: facts.RemovalFinished) -> None:
        self._one(self.removals, fact.outcome, fact.removal.cause).inc()
        self.call_seconds.observe(fact.took)
        if fact.gone:
            self.expected.inc(fact.removal.expected)

    def decided(self, plan: Plan, state: State) -> None:
        """Gauges of one plan."""
        self.candidates.set(len(plan.candidates))
        self.candidate_bytes.set(sum(one.image.size for one in plan.candidates))
        kinds = Counter(kept.protections[0].kind for kept in plan.kept)
        for kind in Kind:
            self._one(self.protected, kind.value).set(kinds[kind])
        for reason in HoldReason:
            self._one(self.holds, reason.value).set(
                plan.hold is not None and plan.hold.reason is reason
            )
        self.untold.set(len(state.graph.untold))

    def text(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type: OpenMetrics if the scraper asks for it, else
        Prometheus' text format."""
        encode, kind = choose_encoder(accept)
        return encode(self.registry), kind
