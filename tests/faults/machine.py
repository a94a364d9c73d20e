"""The whole daemon in virtual time, with a real policy file and a real ledger, for faults of the
machine; as a program it lives through a fault on a filesystem of its own and prints what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from reconciler.assembly import assemble
from reconciler.domain.inventory import FilesystemUsage
from reconciler.settings import Settings
from reconciler.store.ledger import Ledger
from tests.builders import DAY, GIB, image
from tests.engine.world import Clock, FakeRuntime

POLICY = """\
apiVersion: reconciler/v1
watermarks: {high: 80%, low: 78%}
kind: ImagePolicy
mode: enforce
minimumAge: 1h
system: {enabled: false}
"""
LINE = [image(f"app{number}:v1", 3 * GIB) for number in range(8)]


class Machine:
    """A node of eight images, unused, on a disk of 100 GiB; `other_bytes` fill it."""

    def __init__(self, folder: Path, runtime: FakeRuntime) -> None:
        self.runtime, self.clock, self.state_dir = runtime, runtime.clock, folder / "state"
        self.policy = folder / "policy.yaml"
        if not self.policy.exists():
            self.policy.write_text(POLICY)
        settings = Settings(
            "/run/cri.sock",
            "a test",
            policy=self.policy,
            policy_named=True,
            state_dir=self.state_dir,
        )
        self.daemon = assemble(
            settings,
            runtime,
            self.clock,
            self._measured,
            clocks=lambda: runtime.clock.reading(),
            wall=runtime.clock.wall,
        )
        self.journal = self.daemon.journal

    def _measured(self, mountpoint: str) -> FilesystemUsage:
        return FilesystemUsage(mountpoint, 1, 100 * GIB, self.runtime.used())

    async def turns(self, count: int, seconds: float = 1.0) -> None:
        for _ in range(count):
            self.clock.advance(seconds)
            await self.daemon.policies.refresh()
            fact = await self.daemon.probe.once()
            if fact is not None:
                self.daemon.mailbox.put("usage", fact)
            await self.daemon.reconciler.turn(self.daemon.mailbox.drain())

    async def settle(self) -> None:
        """A day of calm; then the disk is at 84 percent."""
        self.runtime.have(*LINE)
        await self.turns(3)
        await self.turns(24, DAY / 24)
        self.runtime.other_bytes = 60 * GIB

    def gauge(self, name: str) -> float | None:
        """A metric as it is scraped."""
        return self.journal.metrics.registry.get_sample_value(f"reconciler_{name}")

    def close(self) -> None:
        self.daemon.close()


def _fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 512)


def _take_all_inodes(folder: Path) -> None:
    (folder / "files").mkdir()
    for number in range(1_000_000):
        (folder / "files" / str(number)).touch()


def _remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


BEGINS: dict[str, Callable[[Path], None]] = {
    "full": _fill,
    "no inodes": _take_all_inodes,
    "read-only": lambda folder: _remount(folder, "ro"),
}


def _end(folder: Path) -> None:
    _remount(folder, "rw")
    (folder / "filler").unlink(missing_ok=True)
    for file in (folder / "files").glob("*"):
        file.unlink()


async def live_through(fault: str, folder: Path, runtime: FakeRuntime) -> dict[str, Any]:
    """A first life, the fault, a second life under it and beyond; what was seen."""
    before = Machine(folder, runtime)
    await before.settle()
    await before.daemon.reconciler.end()
    before.close()
    with contextlib.suppress(OSError):  # ENOSPC is what is wanted
        BEGINS[fault](folder / "state")
    with structlog.testing.capture_logs() as log:
        after = Machine(folder, runtime)
        await after.turns(120, 5)
        seen = {"left": len(runtime.images), "healthy": after.gauge("ledger_healthy")}
        seen["logged"] = sum(line["event"] == "ledger-trouble" for line in log)
        _end(folder / "state")
        await after.turns(20)
    seen["healthy again"] = after.gauge("ledger_healthy")
    seen["logged again"] = sum(line["event"] == "ledger-works-again" for line in log)
    after.close()
    kept = Ledger.read(folder / "state", runtime.clock())
    return seen | {"in the ledger": len(kept.images), "removals": len(kept.removals)}


if __name__ == "__main__":
    found = asyncio.run(live_through(sys.argv[1], Path(sys.argv[2]), FakeRuntime(Clock())))
    sys.stdout.write(json.dumps(found) + "\n")
