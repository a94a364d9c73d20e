"""How full the disk is: measured where the runtime says, and unknown where it cannot be."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import structlog

from reconciler.aiokit import Mailbox
from reconciler.domain.absorb import absorb
from reconciler.domain.decision import HoldReason, decide
from reconciler.domain.facts import Fact, UsageSampled
from reconciler.domain.inventory import FilesystemUsage, UsageSample
from reconciler.domain.runtime import RuntimeUnavailable
from reconciler.domain.state import State
from reconciler.domain.watermark import Pressure
from reconciler.host.mounts import has_stacked_root
from reconciler.sources import usage_probe
from reconciler.sources.usage_probe import (
    ASK_EVERY,
    Measure,
    UsageProbe,
    measure,
    sample,
    usage_from,
)
from reconciler.telemetry.journal import LogAndMetrics
from reconciler.telemetry.metrics import Metrics
from tests.builders import DAY, GIB, HANGS, T0, image, state_of
from tests.engine.world import Clock, FakeRuntime

FULL = 95 * GIB


def disk(mountpoint: str, device: int = 1, inodes: int = 1000) -> FilesystemUsage:
    return FilesystemUsage(mountpoint, device, 100 * GIB, FULL, inodes, inodes // 2)


class Node(FakeRuntime):
    """A runtime that names these directories."""

    mountpoints: tuple[str, ...] = ("/images",)

    async def image_mountpoints(self) -> tuple[str, ...]:
        await super().image_mountpoints()
        return self.mountpoints


def probe_of(node: Node, by: Measure = disk, patience: float = 5.0) -> UsageProbe:
    return UsageProbe(node, node.clock, by, patience)


async def sampled(probe: UsageProbe) -> UsageSample:
    fact = await probe.once()
    assert isinstance(fact, UsageSampled)
    return fact.sample


def absorbed(found: UsageSample) -> State:
    """A node with one old image, measured so."""
    state = state_of([image("app:v1", 5 * GIB)], full=10)
    absorb(UsageSampled(found), state)
    return state


def test_usage_is_what_kubelet_sees_and_df_is_shown_too(tmp_path: Path) -> None:
    """What only root may use counts as used, for bytes and inodes alike; `df` leaves it out."""
    found, real = measure(str(tmp_path)), os.statvfs(tmp_path)
    assert found.capacity == real.f_blocks * real.f_frsize
    assert found.used == pytest.approx((real.f_blocks - real.f_bavail) * real.f_frsize, rel=0.01)
    assert found.total_inodes == real.f_files
    assert found.device == os.stat(tmp_path).st_dev
    small = FilesystemUsage("/images", 1, 1000, 808, reserved=590)  # bytes
    assert round(small.df_percent) == 53


@pytest.mark.parametrize(
    ("root", "mount", "seen"),
    [("overlay", "", False), ("overlay", "metadata.db", True), ("ext4", "", True)],
)
async def test_an_empty_directory_of_the_daemons_own_container_is_not_the_runtimes(
    root: str, mount: str, seen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mounted below it on the host, and not into the container: its root would be measured."""
    mounts = f"30 1 0:1 / / rw - {root} none rw\n"
    (tmp_path / "mountinfo").write_text(mounts)
    images = Path(tempfile.mkdtemp(dir="/"))
    try:
        if mount:
            (images / mount).touch()
        stacked = partial(has_stacked_root.__wrapped__, tmp_path / "mountinfo")
        monkeypatch.setattr(usage_probe, "has_stacked_root", stacked)
        found = await sample([str(images)], measure, Clock())
    finally:
        shutil.rmtree(images)
    assert bool(found.filesystems) == seen


async def test_two_directories_of_one_filesystem_count_once(tmp_path: Path) -> None:
    """Two snapshotters on one disk are one disk: their bytes are not to be freed twice."""
    for name in ("overlayfs", "native"):
        (tmp_path / name).mkdir()
    paths = [str(tmp_path / name) for name in ("overlayfs", "native")]
    found = await sample(paths, measure, Clock())
    assert [fs.mountpoint for fs in found.filesystems] == paths[:1]


async def test_a_filesystem_that_can_not_be_seen_holds_all_removal() -> None:
    """A container without the host's mount would measure its own root: it says so and holds."""

    def hidden(mountpoint: str) -> FilesystemUsage:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    state = absorbed(await sampled(probe_of(Node(Clock()), hidden)))
    found = decide(state, state.operator.policy, T0 + DAY).hold
    assert found is not None
    assert found.reason is HoldReason.FILESYSTEM_UNMEASURED
    assert "/images" in found.detail
    assert "mount the path" in found.detail


async def test_one_filesystem_of_two_that_can_not_be_seen_does_not_leave_the_other_full() -> None:
    """It is said which one, and the full one gets its space back."""

    def half(mountpoint: str) -> FilesystemUsage:
        if mountpoint == "/other":
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return disk(mountpoint)

    node = Node(Clock())
    node.mountpoints = ("/images", "/other")
    state = absorbed(await sampled(probe_of(node, half)))
    assert state.disks.pressure is Pressure.RECLAIMING
    assert decide(state, state.operator.policy, T0 + DAY).eviction is not None
    assert [lost.mountpoint for lost in state.disks.invisible] == ["/other"]


async def test_no_fixed_number_of_inodes_turns_their_marks_off_and_is_said_once() -> None:
    """btrfs reports f_files = 0: no share of nothing is too much of it."""
    state, journal = State(began_at=T0), LogAndMetrics(Metrics())
    with structlog.testing.capture_logs() as log:
        for _ in range(2000):
            fact = UsageSampled(UsageSample(T0, (disk("/images", inodes=0),)))
            absorb(fact, state)
            journal.absorbed(fact, state, T0)
    assert state.disks.filesystems["/images"].by_inodes is Pressure.CALM
    assert [line["mountpoint"] for line in log if line["event"] == "inode-marks-off"] == ["/images"]


async def test_a_filesystem_without_inodes_that_calls_some_free_is_measured() -> None:
    """Some FUSE filesystems report f_files = 0 and f_favail > 0: that was taken for nonsense, so
    that the disk was never measured and nothing ever went."""
    blocks = FULL // 20 // 4096  # free, of 4 KiB each
    stats = os.statvfs_result((4096, 4096, 20 * blocks, blocks, blocks, 0, 500, 500, 0, 255))
    found = await sample(["/images"], partial(usage_from, stats, device=1), Clock())
    (usage,) = found.filesystems
    assert (usage.used_inodes, usage.total_inodes) == (0, 0)
    state = absorbed(found)
    assert state.disks.filesystems["/images"].by_bytes is Pressure.RECLAIMING
    assert state.disks.filesystems["/images"].by_inodes is Pressure.CALM


async def test_a_filesystem_of_all_bytes_that_64_bits_hold_is_not_measured() -> None:
    """Some network filesystems report 16 EiB, which no column of the history takes: the first
    removal ended the daemon. Such a size is no size, and what is said names the filesystem."""
    stats = os.statvfs_result((4096, 4096, 1 << 52, 1 << 51, 1 << 51, 9, 8, 8, 0, 255))
    found = await sample(["/images"], partial(usage_from, stats, device=1), Clock())
    assert found.filesystems == ()
    assert [lost.mountpoint for lost in found.invisible] == ["/images"]
    assert "more than any disk has" in found.invisible[0].error


async def test_inodes_alone_are_pressure_too() -> None:
    """A million small files fill a disk that has bytes left."""
    usage = FilesystemUsage("/images", 1, 100 * GIB, 0, 1000, 900)
    state = absorbed(UsageSample(T0, (usage,)))
    assert state.disks.pressure is Pressure.RECLAIMING
    assert decide(state, state.operator.policy, T0 + DAY).eviction is not None


async def test_a_disk_that_hangs_stops_neither_the_loop_nor_other_threads() -> None:
    """A statvfs that never answers costs one thread, holds all removal, and is over when it is."""
    answer, entered = threading.Event(), []

    def hangs(mountpoint: str) -> FilesystemUsage:
        entered.append(mountpoint)
        answer.wait(30)
        return disk(mountpoint)

    probe = probe_of(Node(Clock()), hangs, patience=0.05)
    try:
        first = await sampled(probe)
        for _ in range(20):
            state = absorbed(await sampled(probe))
        assert len(entered) == 1
        assert [lost.mountpoint for lost in first.invisible] == ["/images"]
        assert decide(state, state.operator.policy, T0 + DAY).eviction is None
    finally:
        answer.set()
    with anyio.fail_after(HANGS):
        while not (await sampled(probe)).filesystems:
            await anyio.lowlevel.checkpoint()


async def test_the_mountpoints_are_asked_for_again() -> None:
    """The runtime's storage moved to another disk: a minute later that one is measured."""
    node = Node(Clock())
    probe = probe_of(node)
    assert (await sampled(probe)).filesystems[0].mountpoint == "/images"
    node.mountpoints = ("/moved",)
    assert (await sampled(probe)).filesystems[0].mountpoint == "/images"
    node.clock.advance(ASK_EVERY)
    assert (await sampled(probe)).filesystems[0].mountpoint == "/moved"


async def test_a_runtime_that_does_not_answer_leaves_the_known_mountpoints() -> None:
    """The disk is there even if the runtime is not; before the first answer there is no sample."""
    node = Node(Clock())
    node.fails["image_mountpoints"] = RuntimeUnavailable("away")
    probe = probe_of(node)
    assert await probe.once() is None
    node.fails.clear()
    await sampled(probe)
    node.fails["image_mountpoints"] = RuntimeUnavailable("away")
    node.clock.advance(2 * ASK_EVERY)
    assert (await sampled(probe)).filesystems


async def sampled_while_busy(percents: list[int], pause: float) -> list[Fact]:
    """What a reader that was busy finds in the mailbox, after a look at each of these usages."""
    clock, left = Clock(), list(percents)
    probe, mailbox = probe_of(Node(clock), lambda at: full(at, left.pop(0))), Mailbox[Fact]()

    async def sleep(seconds: float) -> None:
        clock.advance(pause)
        if not left:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await probe.run(mailbox, sleep)
    return mailbox.drain()


def full(mountpoint: str, percent: int) -> FilesystemUsage:
    return FilesystemUsage(mountpoint, 1, 100 * GIB, percent * GIB)


async def test_a_low_mark_that_was_reached_while_the_loop_was_busy_ends_the_reclaim() -> None:
    """A removal takes ten seconds, kubelet removes as well, then somebody pulls: only the last
    sample was left to the loop, and another image went."""
    state = state_of([image("app:v1", 5 * GIB)], full=90)
    for fact in await sampled_while_busy([84, 77, 79], pause=1.0):
        absorb(fact, state)
    assert state.disks.pressure is Pressure.CALM


async def test_how_far_usage_ran_while_the_loop_was_busy_is_learned() -> None:
    """The farthest is seldom the last: what goes on is what makes a removal slow."""
    state = state_of([image("app:v1", 5 * GIB)], full=70)
    for fact in await sampled_while_busy([70, 81, 87, 82], pause=1.0):
        absorb(fact, state)
    assert state.disks.overshoot("/images").farthest == 7 * GIB


async def test_a_busy_loop_finds_one_sample_for_each_second() -> None:
    """Near the mark there are ten: a removal that hangs for ten minutes would leave thousands."""
    facts = await sampled_while_busy([84] * 600, pause=0.1)
    assert len(facts) == 60
