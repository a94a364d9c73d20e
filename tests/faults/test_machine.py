"""Faults of the machine: for each what holds, that it is logged once, which metric shows it,
and that work goes on by itself. The whole daemon, with its real ledger and policy file."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from reconciler.domain.ledger import Changes
from reconciler.fake_runtime.habits import CONTAINERD_2
from reconciler.host.clock import SteadyClock
from reconciler.store.ledger import Ledger
from tests.acceptance.test_run import POLICY as ENFORCING
from tests.acceptance.test_run import made
from tests.builders import DAY, GIB, HANGS, T0, container
from tests.engine.world import Clock, FakeRuntime
from tests.faults.machine import LINE, POLICY, Machine

SIZED = "size=400k,nr_inodes=40"


def may_mount() -> bool:
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return os.geteuid() == 0 and tried.returncode == 0


def lived_through(fault: str, folder: Path) -> dict[str, int]:
    """In a process of its own, whose state directory is a filesystem that nobody else sees."""
    (folder / "state").mkdir()
    script = f'mount -t tmpfs -o {SIZED} tmpfs "$1/state" && shift && exec "$@"'
    program = [sys.executable, "-m", "tests.faults.machine", fault, str(folder)]
    run = ["unshare", "--mount", "sh", "-c", script, "sh", str(folder), *program]
    ended = subprocess.run(run, capture_output=True, text=True, check=False, timeout=HANGS)
    assert ended.returncode == 0, ended.stderr
    seen: dict[str, int] = json.loads(ended.stdout.splitlines()[-1])
    return seen


@pytest.mark.skipif(not may_mount(), reason="mounts a small filesystem")
@pytest.mark.parametrize("fault", ["full", "no inodes", "read-only"])
def test_a_state_directory_that_takes_no_more_costs_no_image_and_no_age(
    fault: str, tmp_path: Path
) -> None:
    """Ten minutes of it, from a start: images go down to the low mark by the ages known before, it
    is logged once, `ledger_healthy` is 0; with room again all is written."""
    assert lived_through(fault, tmp_path) == {
        "left": 6,
        "healthy": 0,
        "logged": 1,
        "healthy again": 1,
        "logged again": 1,
        "in the ledger": 6,
        "removals": 2,
    }


async def test_a_state_directory_that_is_removed_costs_no_age(tmp_path: Path) -> None:
    """Somebody cleans up /var/lib in the middle: the next save writes all that is known, and the
    images go on being as old as they are."""
    machine = Machine(tmp_path, FakeRuntime(Clock()))
    await machine.settle()
    shutil.rmtree(machine.state_dir)
    await machine.turns(60)
    assert len(machine.runtime.images) == 6
    assert machine.gauge("ledger_healthy") == 1
    machine.close()
    assert len(Ledger.read(machine.state_dir, machine.clock()).images) == 6


@pytest.mark.parametrize("step", [DAY, -DAY])
async def test_a_wall_clock_that_steps_by_a_day_makes_no_image_old(
    step: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon counts by a clock that does not step: an image of a minute stays as young as it
    is, forth as back."""
    clock, machine = SteadyClock(), Machine(tmp_path, FakeRuntime(Clock()))
    wall = time.time
    machine.runtime.have(*LINE)
    await machine.turns(3)
    machine.runtime.other_bytes = 60 * GIB
    began = clock()
    monkeypatch.setattr(time, "time", lambda: wall() + step)
    machine.clock.now += clock() - began  # what the daemon would see of it
    await machine.turns(60)
    assert len(machine.runtime.images) == len(LINE)
    assert abs(clock() - began) < DAY / 2
    machine.close()


async def test_a_clock_set_forth_over_a_restart_makes_no_image_old(tmp_path: Path) -> None:
    """Every image on the node would look days old, and the ones just pulled would go."""
    runtime = FakeRuntime(Clock())
    before = Machine(tmp_path, runtime)
    runtime.have(*LINE)
    await before.turns(60)
    before.close()
    runtime.clock.set_forward(2 * DAY)
    runtime.other_bytes = 60 * GIB
    after = Machine(tmp_path, runtime)
    await after.turns(60)
    assert len(runtime.images) == len(LINE)
    await after.turns(60, 60)
    after.close()
    assert len(runtime.images) == 6


async def test_a_clock_set_back_over_a_restart_makes_no_image_young(tmp_path: Path) -> None:
    """The disk is full, and every image would look new for another hour."""
    runtime = FakeRuntime(Clock())
    before = Machine(tmp_path, runtime)
    await before.settle()
    before.close()
    runtime.clock.set_forward(-2 * DAY)
    after = Machine(tmp_path, runtime)
    await after.turns(60)
    after.close()
    assert len(runtime.images) == 6


YEAR = 365 * DAY
WRONG = [0.0, 2 * DAY, -2 * DAY, 20 * YEAR, -57 * YEAR]  # the last: a clock that begins in 1970


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_machine_restarted_with_a_wrong_clock_makes_no_image_old(
    wrong: float, tmp_path: Path
) -> None:
    """What was pulled right before the machine went down is as old as it has been up, whatever its
    clock says, and for however long it was off."""
    runtime = FakeRuntime(Clock())
    before = Machine(tmp_path, runtime)
    runtime.have(*LINE)
    await before.turns(60)
    before.close()
    runtime.clock.reboot(off=30 * DAY, set_forward=wrong)
    runtime.other_bytes = 60 * GIB
    after = Machine(tmp_path, runtime)
    await after.turns(59, 60)
    assert len(runtime.images) == len(LINE)
    await after.turns(3, 60)
    after.close()
    assert len(runtime.images) == 6


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_machine_restarted_with_a_wrong_clock_makes_no_image_young(
    wrong: float, tmp_path: Path
) -> None:
    """The disk is full, and what is a day old would look new for another hour."""
    runtime = FakeRuntime(Clock())
    before = Machine(tmp_path, runtime)
    await before.settle()
    before.close()
    runtime.clock.reboot(set_forward=wrong)
    after = Machine(tmp_path, runtime)
    await after.turns(60)
    after.close()
    assert len(runtime.images) == 6


async def unused_for(
    folder: Path, runtime: FakeRuntime, hours: int, reboot_every: int, *, comes_up_at: float
) -> int:
    """How many images are left after that many hours under `maximumUnusedAge: 10h`, on a machine
    that comes up at the same wrong time again and again, and is set right by the network."""
    (folder / "policy.yaml").write_text(POLICY + "maximumUnusedAge: 10h\n")
    for first in range(0, hours, reboot_every):
        runtime.clock.reboot(set_forward=comes_up_at - runtime.clock.now)
        runtime.clock.ahead = T0 + first * 3600 - comes_up_at
        machine = Machine(folder, runtime)
        await machine.turns(min(reboot_every, hours - first) * 12, 300)
        machine.close()
    return len(runtime.images)


@pytest.mark.parametrize("comes_up_at", [T0 - 5 * YEAR, T0 + 5 * YEAR])
async def test_reboots_with_a_wrong_clock_do_not_keep_images_young_for_ever(
    comes_up_at: float, tmp_path: Path
) -> None:
    """Each start found all times in the future, or long past; nothing grew old between two."""
    runtime = FakeRuntime(Clock())
    runtime.have(*LINE)
    assert await unused_for(tmp_path, runtime, 9, 3, comes_up_at=comes_up_at) == len(LINE)
    assert await unused_for(tmp_path, runtime, 3, 3, comes_up_at=comes_up_at) == 0


@pytest.mark.parametrize("baked", [0.0, -5 * YEAR, 5 * YEAR])
async def test_a_state_directory_cloned_with_a_machine_image_starts_over(
    baked: float, tmp_path: Path
) -> None:
    """Thousands of nodes start with the ledger of the machine that built their disk, by a clock of
    its own: each image is as old as this node has seen it unused, no more, and no less."""
    runtime = FakeRuntime(Clock(T0 + baked))
    builder = Machine(tmp_path, runtime)
    await builder.settle()
    builder.close()
    runtime.other_bytes = 0
    runtime.clock.reboot(set_forward=-baked, off=90 * DAY, machine="another one")
    assert await unused_for(tmp_path, runtime, 9, 9, comes_up_at=T0 + 91 * DAY) == len(LINE)
    assert await unused_for(tmp_path, runtime, 3, 3, comes_up_at=T0 + 91 * DAY) == 0


async def test_a_process_stopped_for_an_hour_decides_on_nothing_it_knew(tmp_path: Path) -> None:
    """SIGSTOP, and every image in use since: the first thing after it is to look again."""
    (tmp_path / "policy.yaml").write_text(POLICY.replace("1h", "0s"))
    machine = Machine(tmp_path, FakeRuntime(Clock()))
    await machine.settle()
    users = [container(f"user{n}", one) for n, one in enumerate(LINE)]
    machine.clock.advance(3600)
    machine.runtime.run(*users)
    await machine.turns(60)
    assert len(machine.runtime.images) == len(LINE)
    assert not machine.runtime.wrong
    machine.close()


async def test_a_disk_that_takes_a_minute_to_write_costs_time_and_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each save takes a minute, and a pod starts in the middle of each without an event."""
    (tmp_path / "policy.yaml").write_text(POLICY.replace("1h", "0s"))
    machine = Machine(tmp_path, FakeRuntime(Clock()))
    await machine.settle()
    save, started = Ledger.save, 0

    def slow(self: Ledger, changes: Changes, now: float) -> None:
        nonlocal started
        machine.clock.advance(60)
        unused = [i for i in machine.runtime.images.values() if not machine.runtime.users_of(i)]
        if started < 4 and unused:
            machine.runtime.run(container(f"late{started}", unused[0]))
            started += 1
        save(self, changes, now)

    monkeypatch.setattr(Ledger, "save", slow)
    await machine.turns(60)
    assert started == 4
    assert not machine.runtime.wrong
    assert len(machine.runtime.images) == 6
    machine.close()


async def test_no_file_descriptor_left_holds_and_is_over_when_there_are(tmp_path: Path) -> None:
    """The process lives on, removes nothing, says once that the runtime can't be reached, and goes
    on where it was as soon as a socket can be opened again."""
    with tempfile.TemporaryDirectory(prefix="fds-") as folder:
        daemon = made(folder, CONTAINERD_2)
        daemon.policy.write_text(ENFORCING.replace("enforce", "observe"))
        async with daemon.runtime, daemon.running():
            await daemon.logged("would-remove")
            assert daemon.process is not None
            limit = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (3, limit[1]))
            await daemon.runtime.stop(killed=True)
            await daemon.runtime.start()
            await daemon.logged("listing-failed")
            daemon.policy.write_text(ENFORCING)
            await daemon.logged("policy-refused")
            assert len(daemon.left()) == 5
            resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, limit)
            await daemon.logged("listing-works-again")
            await daemon.logged("removed", 4)
        assert daemon.left() == ["used:v1"]
        assert len([one for one in daemon.lines if one["event"] == "listing-failed"]) <= 2
