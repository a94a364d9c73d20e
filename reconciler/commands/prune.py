"""`reconciler prune`: one pass, then exit; what `crictl rmi --prune` should have been.

It is the operator's own command: it removes whatever the policy's mode is, while usage is above the
low mark (or `--to`). It overrides no protection but the minimum age, if that is given.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from functools import partial

from ..aiokit import Mailbox, run_alongside
from ..cri.client import CriClient
from ..domain.decision import decide
from ..domain.facts import Fact, RemovalBegun, RemovalFinished, RemovalSpared, UsageSampled
from ..domain.humanize import counted, image_name, size_text
from ..domain.inventory import UsageSample
from ..domain.neutral import neutralised
from ..domain.plan import Command, Plan
from ..domain.policy import Mark, Policy
from ..domain.removal import Removal
from ..domain.runtime import RuntimeUnavailable
from ..domain.space import Removed
from ..domain.state import State
from ..domain.watermark import Pressure
from ..engine.dependencies import Dependencies
from ..engine.reconcile import Reconciler
from ..host.clock import SteadyClock, clocks_of_this_machine
from ..host.lock import Lock, LockUnavailable
from ..pods.watch import Place, PodWatch
from ..report import freed_text
from ..settings import Settings
from ..sources.claim import Claim
from ..sources.policy_file import PolicySource
from ..sources.usage_probe import UsageProbe, measure
from ..store.history import History
from ..store.ledger import Ledger
from ..store.saving import saver
from ..telemetry.evidence import Evidence, shown_of
from . import progress
from .plan import show
from .survey import connect, look
from .tables import hold_text


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """The options of the command line, which override the policy."""

    to: Mark | None = None
    all_unused: bool = False
    minimum_age: float | None = None  # seconds

    def applied_to(self, policy: Policy) -> Policy:
        """The policy for this pass: it starts where it stops, at the low mark or at `--to`."""
        marks = replace(policy.watermarks, from_low=True)
        marks = marks if self.to is None else replace(marks, low=self.to)
        age = policy.minimum_age if self.minimum_age is None else self.minimum_age
        return replace(policy, watermarks=marks, minimum_age=age)


class TerminalJournal:
    """Prints what happens, a line each: the journal (`engine.dependencies.Journal`) of `prune`."""

    def __init__(self) -> None:
        self.removed = self.freed = self.refused = 0
        self.evidence = Evidence()
        self.last_plan: Plan | None = None

    def absorbed(self, fact: Fact, state: State, at: float) -> None:
        self.evidence.last_users.absorbed(fact, state)
        match fact:
            case UsageSampled():
                self._shown(state.disks.shown, at)
            case RemovalBegun():
                self._removing(fact.removal)
            case RemovalSpared():
                progress.clear()
                print(f"spared {fact.image_id}: {neutralised(fact.why)}", file=sys.stderr)
            case RemovalFinished():
                self._removed(fact, state)

    def _removing(self, removal: Removal) -> None:
        left = max((fs.bytes_over_low for fs in removal.filesystems), default=0)
        name = image_name(removal.image.names, removal.image.id)
        text = f"{self.removed} removed, {size_text(left)} to go; removing {name}"
        progress.show(text if left else f"{self.removed} removed; removing {name}")

    def _removed(self, fact: RemovalFinished, state: State) -> None:
        self.evidence.finished(fact, state)
        progress.clear()
        name = neutralised(fact.removal.short_name)
        if not fact.gone:
            self.refused += 1
            what = "not removed" if fact.left is None else "untagged, not removed"
            print(f"{what}: {name}: {neutralised(fact.trouble)}", file=sys.stderr)
            return
        self.removed += 1
        shown = shown_of(fact, state)
        freed = (
            f"freed {freed_text(shown.freed, shown.approximate)}"
            if shown
            else "its space does not show yet"
        )
        self.freed += shown.freed if shown else 0
        print(f"removed {name} ({fact.removal.image.id}), {freed}")

    def _shown(self, late: tuple[Removed, ...], at: float) -> None:
        for one in late:
            progress.clear()
            self.evidence.shown(one)
            self.freed += one.freed
            freed = freed_text(one.freed, one.approximate)
            print(
                f"{neutralised(image_name(one.names, one.image_id))} freed {freed}, shown "
                f"{at - one.at:.0f} s after its removal"
            )

    def decided(self, plan: Plan, state: State, at: float) -> None:
        self.last_plan = plan


async def prune(settings: Settings, options: PruneOptions) -> int:
    """Runs one pass. Returns 1 if the low mark was not reached or something holds all removal.
    Raises LockUnavailable and RuntimeFailure, also if the runtime goes away in the middle."""
    if settings.dry_run:
        return await _dry_run(settings, options)
    Ledger.make_room(settings.state_dir)
    with Lock() as lock, Lock() as ledger_lock:
        async with connect(settings) as client:
            mountpoints = await client.image_mountpoints()
            claim = Claim(lock, lambda: mountpoints, client.clock)
            await _refuse_if_another_removes(claim)
            clocks = partial(clocks_of_this_machine, SteadyClock())
            ledger = Ledger.open(settings.state_dir, clocks, ledger_lock)
            history = History(settings.state_dir)
            try:
                survey = await look(client, settings, options.applied_to)
                journal = TerminalJournal()
                deps = _dependencies(settings, options, client, ledger, history, claim, journal)
                # Pods can still be bound while it removes.
                pods = PodWatch(Place.of(settings), deps.mailbox, deps.clock, lambda: True)
                loop = Reconciler(deps, survey.state, Command(options.all_unused))
                await run_alongside(pods.run, loop.prune)
            finally:
                progress.clear()
                ledger.close()
                history.close()
    return _exit_code(journal, survey.state, options)


async def _refuse_if_another_removes(claim: Claim) -> None:
    """Raises LockUnavailable if another process removes images here."""
    found = await claim.renew(wanted=True)
    if found.other is not None:
        text = f"{found.other} removes images here; only one may: stop it first, or use `plan`, "
        raise LockUnavailable(text + "`explain` or --dry-run")


async def _dry_run(settings: Settings, options: PruneOptions) -> int:
    async with connect(settings) as client:
        survey = await look(client, settings, options.applied_to)
    command = Command(options.all_unused)
    made = decide(survey.state, survey.policy, survey.now, command=command, thorough=True)
    show(made, survey, wide=False)
    return 0


def _dependencies(
    settings: Settings,
    options: PruneOptions,
    client: CriClient,
    ledger: Ledger,
    history: History,
    claim: Claim,
    journal: TerminalJournal,
) -> Dependencies:
    clock = client.clock
    mailbox: Mailbox[Fact] = Mailbox()
    policies = PolicySource(
        settings.policy, settings.policy_named, mailbox, clock, options.applied_to, wall=time.time
    )
    probe = UsageProbe(client, clock, measure)

    async def measured() -> UsageSample:
        fact = await probe.once()
        return fact.sample if isinstance(fact, UsageSampled) else UsageSample(clock())

    return Dependencies(
        client,
        mailbox,
        policies,
        measured,
        saver(ledger, history, journal.evidence.take, clock),
        journal,
        clock,
        time.monotonic,
        claim.renew,
        time.time,
    )


def _exit_code(journal: TerminalJournal, state: State, options: PruneOptions) -> int:
    hold = journal.last_plan.hold if journal.last_plan is not None else None
    print(f"removed {counted(journal.removed, 'image')}, freed {size_text(journal.freed)}")
    if state.runtime.listing_trouble is not None:
        raise RuntimeUnavailable(state.runtime.listing_trouble)
    if hold is not None:
        print(neutralised(f"error: nothing more is removed {hold_text(hold)}"), file=sys.stderr)
        return 1
    if not options.all_unused and state.disks.pressure is Pressure.RECLAIMING:
        full = max(state.disks.filesystems.values(), key=lambda fs: fs.bytes_over_low)
        text = f"error: {full.usage.mountpoint} is {size_text(full.bytes_over_low)} over the mark, "
        print(text + "and nothing more may go; `reconciler plan` says why", file=sys.stderr)
        return 1
    return 1 if journal.refused else 0
