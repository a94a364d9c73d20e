"""Reports what the loop does: one log line per decision that matters, the metrics, and notes for
Kubernetes Events.

Event names are part of the operator's contract (docs/architecture.md).
"""

from __future__ import annotations

from ..domain import facts
from ..domain.decision import Hold, HoldReason
from ..domain.humanize import duration, image_name
from ..domain.plan import Plan
from ..domain.policy import Mode, Policy
from ..domain.removal import Removal
from ..domain.state import State
from ..domain.unmatched import unmatched_rules
from ..domain.watermark import Pressure
from .evidence import Evidence, shown_of
from .filesystems import Filesystems, freed_of
from .listings import NAMED, Listings
from .logs import get_logger
from .metrics import Metrics
from .notes import Notes
from .recent import Recent
from .troubles import Troubles, since_logged

OPERATOR_EVENTS: dict[type, str] = {
    facts.Paused: "paused",
    facts.Resumed: "resumed",
    facts.ReclaimAsked: "reclaim-asked",
}


class LogAndMetrics:
    """The daemon's journal (`engine.dependencies.Journal`)."""

    def __init__(self, metrics: Metrics, recent: Recent | None = None) -> None:
        self.metrics, self.recent = metrics, recent or Recent()
        self.evidence, self.notes = Evidence(), Notes()
        self.latest: tuple[float, Plan] | None = None  # the last plan, and when it was made
        self._log, self._troubles = get_logger(), Troubles()
        self._filesystems = Filesystems(metrics, self.notes, self.evidence, self._troubles)
        self._listings = Listings(metrics, self.notes, self._troubles)
        self._pods_from = ""  # the last source of pods, in words
        self._compared: Policy | None = None  # its rules were matched against the images

    def absorbed(self, fact: facts.Fact, state: State, at: float) -> None:
        self.metrics.absorbed(fact, state)
        self.evidence.last_users.absorbed(fact, state)
        match fact:
            case facts.UsageSampled():
                self.recent.sampled(state)
                self._filesystems.sampled(state, at)
            case facts.Listed():
                self._listings.listed(fact, state)
            case facts.ListingFailed():
                self._troubles.warn("listing-failed", fact.reason, at)
            case facts.EventsLost():
                self._troubles.warn("events-lost", fact.reason, at)
            case facts.EventsAbsent():
                self._troubles.warn("events-absent", f"{fact.reason}; living on listings", at)
            case facts.PolicyLoaded():
                self._policy(fact)
                self._filesystems.marks(state)
            case facts.PolicyRejected():
                self._refused(fact, state, at)
            case facts.RemovalBegun():
                self._removing(fact.removal, at)
            case facts.RemovalSpared():
                self._log.info("spared", image=fact.image_id, why=fact.why)
            case facts.RemovalFinished():
                self._removed(fact, state)
            case facts.PodsReported():
                self._pods_reported(fact)
            case facts.PodsLost():
                self._pods_lost(fact)
            case facts.RemoverReported():
                self._remover(fact)
            case facts.KubeletReported():
                self._kubelet(fact)
                self._filesystems.marks(state)
            case facts.Paused() | facts.Resumed() | facts.ReclaimAsked():
                self._log.warning(OPERATOR_EVENTS[type(fact)], by="the operator, over HTTP")

    def _kubelet(self, fact: facts.KubeletReported) -> None:
        config = fact.config
        self._log.info(
            "kubelet-configuration",
            source=config.source,
            image_gc_high_percent=config.image_gc_high,
            thresholds=[str(one) for one in config.thresholds],
        )
        for trouble in fact.troubles:
            self._troubles.warn("kubelet-configuration-unread", trouble, fact.at)

    def _pods_reported(self, fact: facts.PodsReported) -> None:
        again = self._troubles.over("pods-lost")
        if fact.where != self._pods_from:
            self._pods_from = fact.where
            self._log.info("pods-told", source=fact.source, pods=len(fact.pods), detail=fact.where)
        elif again:
            self._log.info("pods-told-again", source=fact.source, pods=len(fact.pods))

    def _pods_lost(self, fact: facts.PodsLost) -> None:
        """A loss is a warning; a node without any source is set up that way: logged once."""
        if self._pods_from:
            self._troubles.warn("pods-lost", fact.reason, fact.at)
        elif self._troubles.due("pods-untold", fact.reason, 0.0) is not None:
            self._log.info("pods-untold", detail=fact.reason)

    def _remover(self, fact: facts.RemoverReported) -> None:
        """Standing by is no trouble: it is logged once for each remover."""
        if fact.trouble is not None:
            self._troubles.warn("remover-unknown", fact.trouble, fact.at)
        else:
            self._troubles.ended("remover-unknown", "remover-known")
        if fact.other is not None:
            if self._troubles.due("standing-by", fact.other, 0.0) is not None:
                self._log.info("standing-by", detail=f"{fact.other} removes images here")
        elif self._troubles.over("standing-by") and fact.ours:
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

    def _refused(self, fact: facts.PolicyRejected, state: State, at: float) -> None:
        in_force = _in_force(state)
        for problem in fact.problems[:20]:
            self._log.error("policy-refused", problem=problem, in_force=in_force)
            self.notes.warn("PolicyRefused", f"{problem}; in force: {in_force}", at)

    def _removed(self, fact: facts.RemovalFinished, state: State) -> None:
        entry = self.evidence.finished(fact, state)
        removal = fact.removal
        fields = {
            "image": removal.image.id,
            "names": list(removal.names),
            "cause": removal.cause,
            "took_seconds": round(fact.took, 3),
        }
        if not fact.gone:
            if fact.left is None:
                self._log.warning("not-removed", **fields, error=fact.trouble)
            else:
                self._log.warning("untagged", **fields, left=list(fact.left), detail=fact.trouble)
            return
        self.notes.removed(entry)
        fields |= {
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
        self._log.info("removed", **fields, **freed_of(shown_of(fact, state)))

    def decided(self, plan: Plan, state: State, at: float) -> None:
        self.latest = (at, plan)
        self.metrics.decided(plan, state)
        self._compare(state)
        if plan.hold is not None and state.disks.pressure is Pressure.RECLAIMING:
            self._held(plan.hold, at)
        going = [one for one in plan.candidates if one.goes]
        if plan.hold is None and going and not _enforcing(state):
            names = [image_name(one.image.names, one.image.id) for one in going[:NAMED]]
            if self._troubles.due("would-remove", "observing", at) is not None:
                self._log.info("would-remove", images=len(going), first=names, mode="observe")

    def _compare(self, state: State) -> None:
        """Logs once for each policy which of its rules match no image here."""
        policy = state.operator.policy
        if policy is None or policy is self._compared or state.runtime.listed_at is None:
            return
        self._compared = policy
        rules = unmatched_rules(policy, state)
        if rules:
            first = [f"{one.pattern} ({one.place})" for one in rules[:NAMED]]
            self._log.info("rules-unmatched", rules=len(rules), first=first)

    def _held(self, hold: Hold, at: float) -> None:
        """Logs a hold once for each reason: the numbers in its detail change with every plan."""
        count = self._troubles.due(f"hold {hold.reason.value}", hold.reason.value, at)
        if count is not None:
            self._log.warning(
                "hold", reason=hold.reason.value, detail=hold.detail, **since_logged(count)
            )
            if hold.reason is HoldReason.EXHAUSTED:
                self.notes.exhausted(hold.detail, at)

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
        """Reports the ledger's health, after every save."""
        self.metrics.ledger_ok.set(trouble is None)
        if trouble is not None:
            self._troubles.warn("ledger-trouble", trouble, at)
        else:
            self._troubles.ended("ledger-trouble", "ledger-works-again")


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
