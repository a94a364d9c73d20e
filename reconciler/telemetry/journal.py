"""What the loop does, told: one log line per decision that matters, and the metrics.

Event names are part of the operator's contract (docs/architecture.md). The same trouble is told
once and then counted.
"""

from __future__ import annotations

from ..domain import facts
from ..domain.decision import Hold, HoldReason
from ..domain.lookup import missing_required
from ..domain.marks import explained, warnings
from ..domain.missing import missing_awaited, missing_in_use
from ..domain.plan import Plan
from ..domain.policy import Mode, Policy
from ..domain.removal import Removal
from ..domain.space import Removed
from ..domain.state import State
from ..domain.unmatched import unmatched_rules
from ..domain.watermark import Pressure
from ..domain.words import and_more, duration
from .evidence import Evidence, shown_of
from .logs import Once, get_logger
from .metrics import Metrics
from .recent import Recent

TOLD: dict[type, str] = {
    facts.Paused: "paused",
    facts.Resumed: "resumed",
    facts.ReclaimAsked: "reclaim-asked",
}
LISTED = 5  # images named in the line on what would go


class LogAndMetrics:
    """The daemon's journal (`engine.reconcile.Journal`)."""

    def __init__(self, metrics: Metrics, recent: Recent | None = None) -> None:
        self.metrics, self._log, self._once = metrics, get_logger(), Once()
        self.recent = recent or Recent()
        self.evidence = Evidence()
        self.latest: tuple[float, Plan] | None = None  # the last plan, and when it was made
        self._pressure: dict[str, Pressure] = {}
        self._pods_from = ""  # who told of pods last
        self._without_inodes: set[str] = set()
        self._marks_go_by: object = None  # when they were told
        self._compared: Policy | None = None  # the policy whose rules were held against the images

    def absorbed(self, fact: facts.Fact, state: State, at: float) -> None:
        self.metrics.absorbed(fact, state)
        self.evidence.last_users.absorbed(fact, state)
        match fact:
            case facts.UsageSampled():
                self._sampled(state, at)
            case facts.Listed():
                self._listed(fact, state)
            case facts.ListingFailed():
                self._trouble("listing-failed", fact.reason, at)
            case facts.EventsLost():
                self._trouble("events-lost", fact.reason, at)
            case facts.EventsAbsent():
                self._trouble("events-absent", f"{fact.reason}; living on listings", at)
            case facts.PolicyLoaded():
                self._policy(fact)
                self._marks(state)
            case facts.PolicyRejected():
                for problem in fact.problems[:20]:
                    self._log.error("policy-refused", problem=problem, in_force=_in_force(state))
            case facts.RemovalBegun():
                self._removing(fact.removal, at)
            case facts.RemovalSpared():
                self._log.info("spared", image=fact.image_id, why=fact.why)
            case facts.RemovalFinished():
                self._removed(fact, state)
            case facts.PodsTold():
                self._pods_told(fact)
            case facts.PodsLost():
                self._pods_lost(fact)
            case facts.RemoverTold():
                self._remover(fact)
            case facts.KubeletTold():
                self._kubelet(fact)
                self._marks(state)
            case facts.Paused() | facts.Resumed() | facts.ReclaimAsked():
                self._log.warning(TOLD[type(fact)], by="the operator, over HTTP")

    def _sampled(self, state: State, at: float) -> None:
        self.recent.sampled(state)
        self._marks(state)
        for removed in state.disks.shown:
            self._log.info(
                "space-shown",
                image=removed.image_id,
                names=list(removed.names),
                mountpoint=self.evidence.shown(removed),
                after_seconds=round(at - removed.at, 1),
                **_freed(removed),
            )
        for mountpoint, fs in state.disks.filesystems.items():
            if not fs.usage.total_inodes and mountpoint not in self._without_inodes:
                self._without_inodes.add(mountpoint)
                self._log.info("inode-marks-off", mountpoint=mountpoint, why="no fixed number")
            before = self._pressure.get(mountpoint, Pressure.CALM)
            self._pressure[mountpoint] = fs.pressure
            if fs.pressure is before:
                continue
            crossed = fs.pressure is Pressure.RECLAIMING
            name = "crossed-high" if crossed else "reached-low"
            (self.metrics.crossed if crossed else self.metrics.reached)(mountpoint, at)
            self._log.info(
                name,
                mountpoint=mountpoint,
                used_bytes=fs.usage.used,
                used_percent=round(fs.used_percent, 1),
                high_bytes=fs.high,
                low_bytes=fs.low,
                margin_bytes=fs.margin,
                overshoot_bytes=None if crossed else state.disks.overshoot(mountpoint).taught,
            )
            if fs.pressure is Pressure.CALM:
                for reason in HoldReason:
                    self._once.over(f"hold {reason.value}")
        for lost in state.disks.invisible:
            self._trouble("filesystem-invisible", f"{lost.mountpoint}: {lost.error}", at)

    def _marks(self, state: State) -> None:
        """Once for all that they go by: where each filesystem's marks are, and who acts first."""
        go_by = (state.disks.bounds, state.operator.policy, tuple(state.disks.filesystems))
        if go_by == self._marks_go_by or not state.disks.filesystems:
            return
        self._marks_go_by = go_by
        for mountpoint, fs in state.disks.filesystems.items():
            self._log.info(
                "watermarks",
                mountpoint=mountpoint,
                high_bytes=fs.high,
                low_bytes=fs.low,
                margin_bytes=fs.margin,
                high=explained(fs, state),
            )
        for warning in warnings(state):
            self._log.warning("kubelet-acts-first", detail=warning)

    def _kubelet(self, fact: facts.KubeletTold) -> None:
        config = fact.config
        self._log.info(
            "kubelet-configuration",
            source=config.source,
            image_gc_high_percent=config.image_gc_high,
            thresholds=[str(one) for one in config.thresholds],
        )
        for trouble in fact.troubles:
            self._trouble("kubelet-configuration-unread", trouble, fact.at)

    def _listed(self, fact: facts.Listed, state: State) -> None:
        if self._once.over("listing-failed"):
            self._log.info("listing-works-again")
        if self._once.due("runtime", f"{fact.version.name} {fact.version.version}", 0.0) == 0:
            self._log.info(
                "runtime",
                name=fact.version.name,
                version=fact.version.version,
                images=len(fact.listing.images),
                containers=len(fact.listing.containers),
                sandboxes=len(fact.listing.sandboxes),
            )
        for key in state.removals.came_back:
            self.metrics.returned.inc()
            self._log.warning("came-back", image=key, names=list(state.removals.records[key].names))
        self._lost(state, fact.listing.ended_at)

    def _lost(self, state: State, at: float) -> None:
        """What should be here and is not: images that containers run on, and required ones."""
        missing = missing_in_use(state)
        if missing:
            self._trouble("in-use-image-missing", and_more(missing[:1], missing), at)
        elif self._once.over("in-use-image-missing"):
            self._log.info("in-use-images-all-here")
        never = missing_awaited(state, at)
        if never:
            self._trouble("awaited-image-missing", and_more(never[:1], never), at)
        elif self._once.over("awaited-image-missing"):
            self._log.info("awaited-images-all-here")
        gone, policy = state.removals.gone_by_others, state.operator.policy
        if gone:
            names = [_name(state, key) for key in gone[:LISTED]]
            self._log.info("removed-by-others", images=len(gone), first=names)
        required = missing_required(policy, state.graph) if policy else ()
        if required:
            shown = ", ".join(f"{one.pattern} ({one.place})" for one in required[:LISTED])
            self._trouble("required-image-missing", shown, at)
        elif self._once.over("required-image-missing"):
            self._log.info("required-images-all-here")

    def _pods_told(self, fact: facts.PodsTold) -> None:
        again = self._once.over("pods-lost")
        if fact.where != self._pods_from:
            self._pods_from = fact.where
            self._log.info("pods-told", source=fact.source, pods=len(fact.pods), detail=fact.where)
        elif again:
            self._log.info("pods-told-again", source=fact.source, pods=len(fact.pods))

    def _pods_lost(self, fact: facts.PodsLost) -> None:
        """A loss is a trouble. That nobody ever told is how a node is set up: said once."""
        if self._pods_from:
            self._trouble("pods-lost", fact.reason, fact.at)
        elif self._once.due("pods-untold", fact.reason, 0.0) is not None:
            self._log.info("pods-untold", detail=fact.reason)

    def _remover(self, fact: facts.RemoverTold) -> None:
        """Standing by is no trouble: it is said once of each remover."""
        if fact.trouble is not None:
            self._trouble("remover-unknown", fact.trouble, fact.at)
        elif self._once.over("remover-unknown"):
            self._log.info("remover-known")
        if fact.other is not None:
            if self._once.due("standing-by", fact.other, 0.0) is not None:
                self._log.info("standing-by", detail=f"{fact.other} removes images here")
        elif self._once.over("standing-by") and fact.ours:
            self._log.info("took-over", detail="the other remover ended; this one removes now")

    def _policy(self, fact: facts.PolicyLoaded) -> None:
        policy = fact.policy
        self._log.info(
            "policy-in-force",
            source=policy.source,
            mode=policy.mode.value,
            high=str(policy.watermarks.high or "auto"),
            low=str(policy.watermarks.low or "auto"),
            minimum_age=duration(policy.minimum_age),
            exclusions=len(policy.exclusions),
        )
        for warning in fact.warnings:
            self._log.warning("policy-warning", detail=warning)

    def _removed(self, fact: facts.RemovalFinished, state: State) -> None:
        entry = self.evidence.finished(fact, state)
        removal = fact.removal
        told = {
            "image": removal.image.id,
            "names": list(removal.names),
            "cause": removal.cause,
            "took_seconds": round(fact.took, 3),
        }
        if not fact.gone:
            if fact.left is None:
                self._log.warning("not-removed", **told, error=fact.trouble)
            else:
                self._log.warning("untagged", **told, left=list(fact.left), detail=fact.trouble)
            return
        told |= {
            "why": entry.why,
            "age_seconds": round(entry.at - entry.first_seen),
            "last_user": entry.last_user or "none seen",
            "listed_seconds_before": _span(entry.listed_at, entry.at),
            "mountpoint": entry.mountpoint,
            "used_before_bytes": entry.used_before,
            "used_after_bytes": entry.used_after,
            "high_bytes": entry.high,
            "low_bytes": entry.low,
            "expected_bytes": removal.expected,
        }
        self._log.info("removed", **told, **_freed(shown_of(fact, state)))

    def decided(self, plan: Plan, state: State, at: float) -> None:
        self.latest = (at, plan)
        self.metrics.decided(plan, state)
        self._compare(state)
        if plan.hold is not None and state.disks.pressure is Pressure.RECLAIMING:
            self._held(plan.hold, at)
        going = [one for one in plan.candidates if one.goes]
        if plan.hold is None and going and not _enforcing(state):
            names = [(one.image.names or (one.image.id,))[0] for one in going[:LISTED]]
            if self._once.due("would-remove", "observing", at) is not None:
                self._log.info("would-remove", images=len(going), first=names, mode="observe")

    def _compare(self, state: State) -> None:
        """Tells once of each policy which of its rules match nothing here."""
        policy = state.operator.policy
        if policy is None or policy is self._compared or state.runtime.listed_at is None:
            return
        self._compared = policy
        rules = unmatched_rules(policy, state)
        if rules:
            first = [f"{one.pattern} ({one.place})" for one in rules[:LISTED]]
            self._log.info("rules-unmatched", rules=len(rules), first=first)

    def _held(self, hold: Hold, at: float) -> None:
        """Once for each reason: its numbers change with every look."""
        count = self._once.due(f"hold {hold.reason.value}", hold.reason.value, at)
        if count is not None:
            again = {"times_since": count} if count else {}
            self._log.warning("hold", reason=hold.reason.value, detail=hold.detail, **again)

    def _removing(self, removal: Removal, at: float) -> None:
        self._log.info(
            "removing",
            image=removal.image.id,
            names=list(removal.image.names),
            cause=removal.cause,
            why=removal.why,
            size_bytes=removal.image.size,
            listed_seconds_ago=_span(removal.listed_at, at),
        )

    def ledger(self, trouble: str | None, at: float) -> None:
        """The ledger's health, after every save."""
        self.metrics.ledger_ok.set(trouble is None)
        if trouble is not None:
            self._trouble("ledger-trouble", trouble, at)
        elif self._once.over("ledger-trouble"):
            self._log.info("ledger-works-again")

    def _trouble(self, topic: str, text: str, at: float) -> None:
        count = self._once.due(topic, text, at)
        if count is not None:
            again = {"times_since": count} if count else {}
            self._log.warning(topic, detail=text, **again)


def _freed(removed: Removed | None) -> dict[str, object]:
    """None: not measured, or it does not show yet."""
    if removed is None:
        return {"freed_bytes": None}
    told: dict[str, object] = {"freed_bytes": removed.freed}
    return told | ({"freed_about": True} if removed.about else {})


def _name(state: State, key: str) -> str:
    """What an image that is gone was called, or its id."""
    ghost = state.memory.ghosts.get(key)
    return (ghost.record.names if ghost and ghost.record.names else (key[:13],))[0]


def _span(since: float | None, until: float) -> float | None:
    return None if since is None else round(until - since, 3)


def _enforcing(state: State) -> bool:
    return state.operator.policy is not None and state.operator.policy.mode is Mode.ENFORCE


def _in_force(state: State) -> str:
    return (
        "none, nothing is removed"
        if state.operator.policy is None
        else f"the last good one ({state.operator.policy.source})"
    )
