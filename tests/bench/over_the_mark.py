"""How far pulls at full speed run past an auto mark on a real containerd, two hundred times."""

from __future__ import annotations

from tests.real.crossings import Crossed, crossings
from tests.real.debs import install_tools, what_is_missing
from tests.real.images import MEBIBYTE, Registry

from .figures import Figure, quantile
from .on_containerd import Unavailable
from .on_prepared import home

COUNTS = {"ext4": 200, "btrfs": 30}
SIZE = 48 * MEBIBYTE
SECONDS = 1500.0
PULLERS = 3


def the_mark() -> list[Figure]:
    """How often kubelet would have acted: its stand-in looks every 10 s and every 5 min. What it is
    made of is in percent of the filesystem, and of the time."""
    missing = what_is_missing()
    if missing is not None:
        raise Unavailable(missing)
    install_tools()
    with home() as folder, Registry(folder / "registry") as registry:
        return [
            _figure(kind, crossings(registry, folder / kind, kind, SIZE, count, SECONDS, PULLERS))
            for kind, count in COUNTS.items()
        ]


def _figure(kind: str, came: Crossed) -> Figure:
    ran = [100 * one / came.capacity for one in came.overshoots]
    made_of = {
        "crossings": float(len(came.margins)),
        "highest use": came.kubelet.highest,
        "time above": 100 * came.kubelet.above / came.kubelet.looks,
    }
    if ran:  # on btrfs one crossing may last all the time
        parts = {"p50": 0.5, "p99": 0.99, "max": 1.0}
        made_of |= {name: quantile(ran, part) for name, part in parts.items()}
        made_of["margin"] = 100 * came.margins[-1] / came.capacity
    name = f"kubelet acted beside auto marks, {kind}"
    return Figure(name, float(came.kubelet.acted), 0.0, "times", made_of)
