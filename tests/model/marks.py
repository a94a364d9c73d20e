"""Marks in bytes, in all units that an operator may write, and what each means."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pod_moves import Dice
    from .world import World

CAPACITY = 10 << 30  # bytes of the model's disk
SHARE = "%"
AUTO = "auto"
UNITS = {
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def written(percent: int, unit: str) -> str:
    """A mark as the operator writes it: a share, or about as many bytes of the model's disk."""
    if unit == SHARE:
        return f"{percent}%"
    return f"{CAPACITY * percent / 100 / UNITS[unit]:.6f}{unit}"


@cache
def meant(percent: int, unit: str, capacity: int) -> int:
    """The bytes in use that it means on a disk."""
    if unit == SHARE:
        return int(capacity * percent / 100)
    number = written(percent, unit).removesuffix(unit)
    return int(float(number) * UNITS[unit])


def lowest_auto(what: str, whole: int) -> tuple[int, int]:
    """The lowest that an auto mark can be, high and low, of `whole` bytes or inodes: kubelet as it
    is shipped collects images above 84 % and evicts with fewer than 5 % of the inodes free; the
    margin below that is a tenth at the most, for inodes a fiftieth."""
    high = whole * 93 // 100 - 2 if what == "inodes" else whole * 74 // 100 - 2
    return high, high - (whole // 100 if what == "inodes" else whole // 200) - 2


def write_marks_differently(world: World, dice: Dice) -> None:
    """The same marks as bytes in another unit, or as shares again, or auto."""
    unit = dice.pick((SHARE, AUTO, *UNITS))
    world.book.change(in_place=dice.number(0, 1) > 0, unit=unit)
    world.note("marks in:", unit)
    if dice.number(0, 2):
        world.nudge()
