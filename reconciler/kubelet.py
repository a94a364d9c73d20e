"""kubelet's own marks: ours must lie below them, or kubelet empties the cache before we act.

Its defaults (kubelet config v1beta1): image GC starts at 85 percent in use, and hard eviction at
15 percent free, which is the same line, deletes every unused image at once (docs/runtimes.md).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .domain.policy import Policy, Watermarks

DEFAULT_HIGH = 85.0  # percent in use
DEFAULT_EVICTION = 15.0  # percent free
NEVER = 100.0  # percent in use: no such line, or one in bytes, which has no share


@dataclass(frozen=True, slots=True)
class KubeletMarks:
    """Percent in use at which kubelet collects images, and at which it evicts."""

    collects: float = DEFAULT_HIGH
    evicts: float = 100 - DEFAULT_EVICTION


def read_marks(path: Path) -> tuple[KubeletMarks, str | None]:
    """kubelet's marks, and what was wrong with its file; its defaults where there is none."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return KubeletMarks(), None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        return KubeletMarks(), f"{path} can not be read ({why}); assuming kubelet's defaults"
    import yaml

    try:
        found = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        text = " ".join(str(error).split())
        return KubeletMarks(), f"{path} is no valid YAML ({text}); assuming kubelet's defaults"
    return _marks(found if isinstance(found, dict) else {}), None


def _marks(config: dict[str, Any]) -> KubeletMarks:
    high = config.get("imageGCHighThresholdPercent")
    collects = (
        float(high) if isinstance(high, int) and high is not True else DEFAULT_HIGH
    )  # true is no number
    hard = config.get("evictionHard")
    if isinstance(hard, dict) and "imagefs.available" not in hard:
        # kubelet takes an evictionHard that is given as a whole, unless told to merge it.
        merged = config.get("mergeDefaultEvictionSettings") is True
        return KubeletMarks(collects, 100 - DEFAULT_EVICTION if merged else NEVER)
    free = str((hard if isinstance(hard, dict) else {}).get("imagefs.available", "15%"))
    percent = re.fullmatch(r"(\d+(?:\.\d+)?)%", free, re.ASCII)
    return KubeletMarks(collects, 100 - float(percent[1]) if percent else NEVER)


def advice(config: Path, policy: Policy) -> Sequence[str]:
    """What to warn of when a policy is loaded, given kubelet's configuration file."""
    marks, trouble = read_marks(config)
    return [*([trouble] if trouble else []), *warnings_for(policy.watermarks, marks)]


def warnings_for(marks: Watermarks, kubelet: KubeletMarks) -> list[str]:
    """What to tell the operator: our high mark must come before kubelet's. Byte marks can not be
    compared without a filesystem; nothing is said of them."""
    high = marks.high.percent
    if high is None:
        return []
    warnings = []
    if high >= kubelet.collects:
        warnings.append(
            f"watermarks.high is {high:g}%, kubelet collects images itself from "
            f"{kubelet.collects:g}% on (imageGCHighThresholdPercent): it will act first, and "
            "knows no exclusions; lower ours or raise kubelet's"
        )
    if high >= kubelet.evicts:
        warnings.append(
            f"watermarks.high is {high:g}%, kubelet evicts from {kubelet.evicts:g}% in use on "
            "(evictionHard imagefs.available) and deletes every unused image then"
        )
    return warnings
