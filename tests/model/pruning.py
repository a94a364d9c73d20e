"""`reconciler prune` in the middle of a node's life: the command's own dependencies and loop, on
the runtime, the ledger and the policy of the daemon that was stopped for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from reconciler.aiokit import Mailbox
from reconciler.commands import prune, survey
from reconciler.domain.facts import Fact, RemovalFinished
from reconciler.domain.inventory import UsageSample
from reconciler.domain.plan import Command as Asked
from reconciler.domain.policy import Mark
from reconciler.domain.runtime import RuntimeFailure
from reconciler.domain.state import State
from reconciler.engine.reconcile import Reconciler
from reconciler.sources import usage_probe
from reconciler.sources.claim import Claim
from reconciler.store.history import History
from reconciler.store.ledger import Ledger

from .oracle import Command
from .world import World


class Quiet(prune.TerminalJournal):
    """Writes to no terminal."""

    def absorbed(self, fact: Fact, state: State, at: float) -> None:
        self.evidence.last_users.absorbed(fact, state)
        if isinstance(fact, RemovalFinished):
            self.evidence.finished(fact, state)


@dataclass
class Pruning:
    """The process, as far as the world needs it."""

    reconciler: Reconciler
    mailbox: Mailbox[Fact]
    ledger: Ledger
    history: History

    def close(self) -> None:
        self.ledger.close()
        self.history.close()


def begin(world: World, command: Command) -> None:
    """The operator starts the command; the daemon does not run."""
    world.start(live=lambda: _prune(world, command))
    if world.running:
        world.oracle.command = command


async def _prune(world: World, command: Command) -> None:
    settings, output = world.settings(), Quiet()
    to = Mark(percent=command.to) if command.to is not None else None
    options = prune.PruneOptions(to, command.all_unused, command.minimum_age)
    with anyio.CancelScope() as world.scope, _as_this_machine(world):
        client = world.client(survey.PATIENCE)
        ledger = Ledger.open(settings.state_dir, world.clocks)
        history = History(settings.state_dir)
        try:
            mountpoints = await client.image_mountpoints()
            claim = Claim(world.rival, lambda: mountpoints, world.clock)
            world.book.looked()  # without an await before it reads the policy
            found = await survey.look(client, settings, options.applied_to)
            deps = prune._dependencies(settings, options, client, ledger, history, claim, output)
            reconciler = Reconciler(deps, found.state, Asked(options.all_unused))
            world.replace_dependencies(reconciler, ledger, options.applied_to)
            world.daemon = Pruning(reconciler, deps.mailbox, ledger, history)
            await reconciler.prune()
            world.note("prune has ended")
        except RuntimeFailure as failure:
            world.note("prune gives up:", failure)
        finally:
            if world.daemon is None:
                ledger.close()
                history.close()


@contextmanager
def _as_this_machine(world: World) -> Iterator[None]:
    """The command measures this world's disks and reads its clocks."""

    async def sample(
        mountpoints: Iterable[str], measure: usage_probe.Measure, clock: Callable[[], float]
    ) -> UsageSample:
        found = await usage_probe.sample(mountpoints, world.measure, clock)
        world.measured(found)
        return found

    own: list[tuple[Any, str, Any]] = [
        (survey, "sample", sample),
        (survey, "clocks_of_this_machine", lambda clock: world.clocks()),
        (prune, "measure", world.measure),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in own]
    for module, name, value in own:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
