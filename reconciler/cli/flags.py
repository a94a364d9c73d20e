"""Parses the values of flags. Raises argparse's own error, whose text is for people."""

from __future__ import annotations

import argparse
import re
from typing import Any

from ..domain.policy import Mark


def duration(text: str) -> float:
    from ..policy import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def interval(text: str) -> float:
    """A duration of more than nothing."""
    found = duration(text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected more than 0 seconds, found {text!r}")
    return found


def seconds(text: str) -> float:
    """A finite number of seconds, 0 or more."""
    if not text.isascii() or not re.fullmatch(r"\d{1,9}(\.\d{0,9})?|\.\d{1,9}", text):
        raise argparse.ArgumentTypeError(
            f"expected a number of seconds like 60 or 1.5, found {text[:40]!r}"
        )
    return float(text)


def count(text: str) -> int:
    """A whole number from 1 on."""
    found = int(text) if re.fullmatch("[0-9]{1,9}", text) else 0
    if found < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, found {text[:40]!r}")
    return found


def mark(text: str) -> Mark:
    from ..policy import parse_mark

    try:
        return parse_mark(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def size(text: str) -> int:
    """Bytes, more than none."""
    from ..policy import parse_size

    try:
        found = parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not found:
        raise argparse.ArgumentTypeError(f"expected more than 0 bytes, found {text!r}")
    return found


def marks(text: str) -> list[Any]:
    from ..replay.daemon import AUTO, Marks

    def one(pair: str) -> Marks:
        if pair == "auto":
            return AUTO
        high, low = map(float, pair.split("/"))
        if not 0 < low < high < 100:
            raise ValueError
        return Marks(high / 100, low / 100)

    try:
        return [one(pair) for pair in text.split(",")]
    except ValueError:
        expected = "expected auto, or high/low like 80/78, or several like auto,90/88"
        raise argparse.ArgumentTypeError(f"{expected}; found {text!r}") from None


def orders(text: str) -> list[str]:
    from ..replay.orders import KUBELET, ORDERS

    names, known = text.split(","), (*ORDERS, KUBELET)
    if not set(names) <= set(known):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, found {text!r}")
    return names
