"""Parses the values of flags. Raises argparse's own error, whose text is for people."""

from __future__ import annotations

import argparse
from typing import Any

from ..domain.policy import Mark


def duration(text: str) -> float:
    from ..policy import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def mark(text: str) -> Mark:
    from ..policy import parse_mark

    try:
        return parse_mark(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def size(text: str) -> int:
    from ..policy import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


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
