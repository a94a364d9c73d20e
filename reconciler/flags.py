"""What stands behind a flag, as values. Raises argparse's own error, whose text is for people."""

from __future__ import annotations

import argparse
from typing import Any

from .domain.policy import Mark


def duration(text: str) -> float:
    from .policy import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def mark(text: str) -> Mark:
    from .policy import parse_mark

    try:
        return parse_mark(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def size(text: str) -> int:
    from .policy import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def marks(text: str) -> list[Any]:
    from .simulation.replay import Marks

    try:
        pairs = [tuple(map(float, pair.split("/"))) for pair in text.split(",")]
        if all(0 < low < high < 100 for high, low in pairs):
            return [Marks(high / 100, low / 100) for high, low in pairs]
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected high/low like 80/78,85/83, found {text!r}")


def orders(text: str) -> list[str]:
    from .simulation.orders import ORDERS

    names = text.split(",")
    if not set(names) <= ORDERS.keys():
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(ORDERS)}, found {text!r}")
    return names
