"""The machine's wall clock is set while everything runs: by NTP after a start with a wrong time, or
by hand, back and forth.

The runtime stamps what it makes by that clock, and the operator's dates are meant by it. The
daemon's ages are not: they count by a clock that is never set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pod_moves import Dice
    from .world import World

DAY = 86400.0
STEPS = (-2 * DAY, -DAY, -3600.0, -60.0, -0.5, 0.5, 60.0, 3600.0, DAY, 2 * DAY)  # seconds


def set_wall_clock(world: World, dice: Dice) -> None:
    """Sets it wrong, or right again."""
    right = world.shift != 0.0 and dice.number(0, 2) == 0
    world.set_clock(0.0 if right else world.shift + dice.pick(STEPS))
