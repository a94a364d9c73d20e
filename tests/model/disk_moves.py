"""What happens to the disks: others fill them or use up their inodes, one becomes invisible, the
runtime names another one."""

from __future__ import annotations

from reconciler.fake_runtime.disks import Disk
from reconciler.fake_runtime.node import layer

from .disks import INODES
from .pod_moves import Dice
from .world import CAPACITY, MIB, World

AROUND = (-20, -2, 0, 0, 1, 2, 4, 9)  # percent, of the high mark
FLOOD = 18  # images


def with_disks(world: World, dice: Dice) -> None:
    """The disks a node has: one or two, with a fixed number of inodes or not."""
    world.disks.first.inodes = dice.pick((0, INODES))
    world.disks.first.commits = dice.pick((0, 0, 0, 30))
    kind = dice.pick(("one", "one", "one", "holds", "others'"))
    if kind != "one":
        capacity = dice.pick((CAPACITY // 2, CAPACITY, CAPACITY, 0))  # 0: a tmpfs without a size
        inodes = dice.pick((0, INODES))
        second = Disk("/images2", 2, capacity, kind == "holds", inodes=inodes)
        second.commits = 0 if inodes else world.disks.first.commits
        world.disks.second = second
    for disk in world.disks:
        disk.kind = "ext4" if disk.inodes and not disk.commits else ""  # btrfs has no fixed number
    world.note("disks:", list(world.disks))


def with_a_late_disk(world: World, dice: Dice) -> None:
    """Two disks: one holds the images and shows late what was freed, the other is of others."""
    with_disks(world, dice)
    first = world.disks.first
    first.commits, first.inodes, first.kind = 30, 0, ""
    world.disks.second = Disk("/images2", 2, CAPACITY, False, inodes=INODES, kind="ext4")


def _a_disk(world: World, dice: Dice) -> Disk:
    return dice.pick(list(world.disks))


def fill_a_disk(world: World, dice: Dice) -> None:
    """Fills a disk with others' data, at times exactly to a mark."""
    disk, policy = _a_disk(world, dice), world.book.wanted
    percent = dice.pick((policy.low, policy.high + dice.pick(AROUND)))
    world.disks.fill(disk, percent)
    world.note(f"{disk.mountpoint} is full to percent", percent)


def use_inodes(world: World, dice: Dice) -> None:
    """Others make many small files, or remove them."""
    disk, policy = _a_disk(world, dice), world.book.wanted
    if disk.inodes:
        percent = policy.inodes_high + dice.pick(AROUND)
        world.disks.fill_inodes(disk, percent)
        world.note(f"inodes of {disk.mountpoint} are used to percent", percent)


def hide_a_disk(world: World, dice: Dice) -> None:
    """A filesystem cannot be seen from where the daemon runs, or can again."""
    disk = _a_disk(world, dice)
    disk.seen = not disk.seen
    world.note(f"{disk.mountpoint} can be seen:", disk.seen)
    if not disk.seen:
        world.advance(dice.pick((0.1, 1.0, 3.0)))
        disk.seen = dice.number(0, 2) > 0


def report_wrong_usage(world: World, dice: Dice) -> None:
    """A filesystem reports impossible usage, or the truth again."""
    disk = _a_disk(world, dice)
    disk.misreports = "" if disk.misreports else dice.pick(("no size", "too much"))
    world.note(f"{disk.mountpoint} reports wrong usage:", disk.misreports)


def flood(world: World, dice: Dice) -> None:
    """Many images come, and a disk that holds none of them gets full."""
    second = world.disks.second
    if second is None or second.holds:
        return
    for number in range(FLOOD):
        name = f"registry.example.com/flood/{number}:v1"
        world.node.publish(name, [layer(f"flood {number}", 40 * MIB)])
        world.node.pull(name, world.clock())
    world.book.change(
        enforce=True, minimum_age=3, maximum_unused_age=0, protect_unpullable=False, rules=()
    )
    world.disks.fill(second, world.book.wanted.high + dice.pick((1, 2)))
    world.note("a flood of images, and the other disk is full")
    world.nudge()
    world.advance(dice.pick((15.0, 31.0)))
