"""Assembles the daemon: everything that `run` works with. Nothing runs yet (app.py)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from .aiokit import Mailbox
from .domain.awaited import WAITED_FOR, Awaited
from .domain.facts import Fact
from .domain.policy import Mode, Policy, unchanged
from .domain.runtime import ImageRuntime
from .domain.state import State
from .engine.dependencies import Dependencies
from .engine.reconcile import Reconciler
from .host.clock import Clocks, no_second_clock
from .host.lock import Lock
from .host.systemd import Notifier
from .http.health import Pulse
from .settings import Settings
from .sources.claim import Claim, Exclusive
from .sources.policy_file import PolicySource
from .sources.usage_probe import Measure, UsageProbe, measure
from .store.history import History
from .store.ledger import Ledger
from .store.saving import saver
from .telemetry.journal import LogAndMetrics
from .telemetry.metrics import Metrics


@dataclass(slots=True)
class Daemon:
    """Everything that `run` works with; made by `assemble`, so that the demo and the tests run the
    same daemon on another runtime and another disk."""

    settings: Settings
    runtime: ImageRuntime
    ledger: Ledger
    history: History
    state: State
    mailbox: Mailbox[Fact]
    policies: PolicySource
    probe: UsageProbe
    journal: LogAndMetrics
    pulse: Pulse
    reconciler: Reconciler
    notifier: Notifier

    def close(self) -> None:
        """Closes the files, at the very end."""
        self.ledger.close()
        self.history.close()


def assemble(
    settings: Settings,
    runtime: ImageRuntime,
    clock: Callable[[], float],
    measured_by: Measure = measure,
    journal: LogAndMetrics | None = None,
    lock: Exclusive | None = None,
    ledger_lock: Lock | None = None,
    clocks: Clocks = no_second_clock,
    wall: Callable[[], float] | None = None,
) -> Daemon:
    """Builds the daemon; nothing runs yet. The demo and the tests pass a disk, a journal and clocks
    of their own: `clock` never steps; `wall` may step at any moment and gives dates (None: the same
    clock). `lock`, on the image filesystems, is the right to remove; `ledger_lock`, on the state
    directory, the right to write there. Without them no other process is expected."""
    ledger = Ledger.open(settings.state_dir, clocks, ledger_lock)
    history = History(settings.state_dir)
    state = State(began_at=clock())
    state.remember(ledger.load(clock()))
    if settings.pods != "off":
        state.pods.awaited = Awaited(clock() + WAITED_FOR)
    mailbox: Mailbox[Fact] = Mailbox()
    journal = journal or LogAndMetrics(Metrics())
    adapt = observing if settings.dry_run else unchanged
    policies = PolicySource(settings.policy, settings.policy_named, mailbox, clock, adapt, wall)
    probe = UsageProbe(runtime, clock, measured_by)
    save = saver(ledger, history, journal.evidence.take, clock, journal.ledger)
    claim = None if lock is None else Claim(lock, lambda: probe.mountpoints, clock).renew
    deps = Dependencies(
        runtime,
        mailbox,
        policies,
        probe.sample,
        save,
        journal,
        clock,
        time.monotonic,
        claim,
        wall,
    )
    return Daemon(
        settings,
        runtime,
        ledger,
        history,
        state,
        mailbox,
        policies,
        probe,
        journal,
        Pulse(time.monotonic),
        Reconciler(deps, state),
        Notifier.from_environment(),
    )


def observing(policy: Policy) -> Policy:
    """The policy in mode observe, whatever it says (`--dry-run`)."""
    return replace(policy, mode=Mode.OBSERVE)
