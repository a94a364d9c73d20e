"""The metrics' names, help texts and labels. Names follow Prometheus conventions: units as
suffixes, `_total` on counters; no label holds an image's name."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from .. import __version__

BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600)  # seconds
LONG_BUCKETS = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)


class Instruments:
    """One object for each metric, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges()
        self._totals()
        self._histograms()

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"reconciler_{name}", text, labels, registry=self.registry)

    def _total(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"reconciler_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...] = BUCKETS) -> Histogram:
        return Histogram(f"reconciler_{name}", text, buckets=buckets, registry=self.registry)

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
        self.unresolved = self._gauge("unresolved_containers", "Containers whose image is unknown.")
        self.lost_in_use = self._gauge(
            "missing_images_in_use", "Images that containers run on and that are not listed."
        )
        self.awaited_missing = self._gauge(
            "missing_images_awaited",
            "Images that pods bound here need, may not pull (imagePullPolicy Never), and miss.",
        )
        self.pod_source = self._gauge(
            "pod_source", "1 for the source that reports the pods bound here, else 0.", "source"
        )
        self.pods = self._gauge("pods", "Pods bound here that a source reported, not finished.")
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
            "removals", "Removals by outcome and cause.", "outcome", "cause"
        )
        self.expected = self._total(
            "removed_expected_bytes", "Bytes that removals were estimated to free."
        )
        self.freed = self._total(
            "removed_bytes", "Bytes by which usage was measured to drop after removals."
        )
        self.spared = self._total("spared", "Removals given up at the last check before the call.")
        self.by_others = self._total(
            "images_removed_by_others", "Images gone from the node that we did not remove."
        )
        self.pods_lost = self._total(
            "pod_source_losses",
            "Times that a source of pods was lost, and failed attempts to find one since.",
        )
        self.returned = self._total("came_back", "Images pulled again after we removed them.")
        self.log_lines_lost = self._total(
            "log_lines_lost", "Log lines that could not be written: its disk is full, or no reader."
        )
        self.node_events = self._total(
            "node_events", "Kubernetes Events on the Node object, by result.", "result"
        )

    def _histograms(self) -> None:
        self.call_seconds = self._histogram("removal_seconds", "How long RemoveImage calls took.")
        self.listing_seconds = self._histogram(
            "listing_seconds", "How long complete listings took."
        )
        self.first_seconds = self._histogram(
            "first_removal_seconds", "From a high mark crossed to the first RemoveImage."
        )
        self.reclaim_seconds = self._histogram(
            "reclaim_seconds", "From a high mark crossed to the low one reached.", LONG_BUCKETS
        )
