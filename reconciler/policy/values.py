"""Durations, sizes and marks as operators of Kubernetes write them."""

from __future__ import annotations

import re

from ..domain.kubelet_lines import Threshold
from ..domain.policy import Mark

_NUMBER = r"(?:(\d+(?:\.\d+)?)"
_DURATION = re.compile("".join(f"{_NUMBER}{unit})?" for unit in "dhms"), re.ASCII)
_SECONDS = (86400.0, 3600.0, 60.0, 1.0)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)", re.ASCII)
_DECIMAL = ("", "k", "M", "G", "T", "P")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi")
_FACTORS = {
    unit: base**power
    for base, units in ((1000, _DECIMAL), (1024, _BINARY))
    for power, unit in enumerate(units)
}
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%", re.ASCII)
LONGEST = 100 * 365 * 86400.0  # seconds
LARGEST = 1 << 60  # bytes


def parse_duration(text: str) -> float:
    """`90s`, `2m`, `1h30m`, `720h`, `30d` in seconds; a bare 0 too. Raises ValueError."""
    found = _DURATION.fullmatch(text) if len(text) <= 40 else None
    if text == "0":
        return 0.0
    if not text or found is None:
        raise ValueError(f"expected a duration like 90s, 2m or 1h30m, found {text[:40]!r}")
    seconds = sum(float(n) * s for n, s in zip(found.groups(), _SECONDS, strict=True) if n)
    if seconds > LONGEST:
        raise ValueError(f"expected less than 100 years, found {text!r}")
    return seconds


def parse_size(text: str) -> int:
    """`1Mi`, `40Gi`, `500M` or plain bytes, in bytes. Raises ValueError."""
    found = _SIZE.fullmatch(text) if len(text) <= 40 else None
    if found is None:
        raise ValueError(f"expected a size like 1Mi, 40Gi or 1048576, found {text[:40]!r}")
    size = int(float(found[1]) * _FACTORS[found[2]])
    if size > LARGEST:
        raise ValueError(f"expected less than 1 EiB, found {text!r}")
    return size


def parse_percent(text: str) -> float:
    """`80%`, more than 0 and less than 100. Raises ValueError."""
    found = _PERCENT.fullmatch(text) if len(text) <= 40 else None
    if found is None or not 0 < float(found[1]) < 100:
        raise ValueError(f"expected a share between 0% and 100%, like 80%, found {text[:40]!r}")
    return float(found[1])


def parse_gc_high(text: str) -> int:
    """kubelet's imageGCHighThresholdPercent, 0 to 100, 100 for never. Raises ValueError."""
    if re.fullmatch(r"[0-9]{1,3}", text) is None or int(text) > 100:
        raise ValueError(f"expected a number from 0 to 100, found {text[:40]!r}")
    return int(text)


def parse_threshold(setting: str, signal: str, text: str) -> Threshold | None:
    """What kubelet's evictionHard or evictionSoft says of one signal, a share like `15%` or a
    quantity like `10Gi`; None for 0% and 100%, which it ignores. Raises ValueError."""
    if text in ("0%", "100%"):
        return None
    if text.endswith("%"):
        return Threshold(setting, signal, percent=parse_percent(text))
    try:
        amount = parse_size(text)
    except ValueError:
        expected = "expected a share like 15% or a quantity like 10Gi"
        raise ValueError(f"{expected}, found {text[:40]!r}") from None
    if amount == 0:
        raise ValueError("expected more than 0, or 0% for no threshold")
    return Threshold(setting, signal, amount=amount)


def parse_mark(text: str) -> Mark:
    """`80%`, or bytes in use like `40Gi`; never a number alone, which kubelet's users mean as a
    share. Raises ValueError."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        write = f"; write {text}%" if len(text) <= 40 and 0 < float(text) < 100 else ""
        found = f"found {text[:40]!r}, which has no unit{write}"
        raise ValueError(f"expected a share like 80% or bytes in use like 40Gi, {found}")
    if text.endswith("%"):
        return Mark(percent=parse_percent(text))
    try:
        size = parse_size(text)
    except ValueError:
        text = f"expected a share like 80% or bytes in use like 40Gi, found {text[:40]!r}"
        raise ValueError(text) from None
    if size == 0:
        raise ValueError("expected more than 0 bytes")
    return Mark(bytes=size)
