"""What a benchmark returns: figures with their targets, and the few statistics they are made of."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

median = statistics.median


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True)
class Figure:
    """One measured number and the most it may be; `made_of` is what it was computed from."""

    name: str
    value: float
    target: float
    unit: str = "times"
    made_of: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        return self.value <= self.target

    def __str__(self) -> str:
        verdict = "ok  " if self.met else "MISS"
        made_of = ", ".join(f"{name} {value:.4g}" for name, value in self.made_of.items())
        shown = f"{self.value:.3g} {self.unit} (at most {self.target:g})"
        return f"{verdict} {self.name:<58} {shown:<32} {made_of}"

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "value": self.value,
            "target": self.target,
            "unit": self.unit,
            "met": self.met,
            "madeOf": self.made_of,
        }


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    return {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "grpcio": version("grpcio"),
        "protobuf": version("protobuf"),
        "load": os.getloadavg()[0],
    }


def resident(pid: int) -> int:
    """Bytes of a process in memory (VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has no memory: it ended")
