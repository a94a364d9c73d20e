"""What a request may ask by, and how much of it. Nothing is read as less than it says: a value that
cannot be is told, with what was expected."""

from __future__ import annotations

import re

from starlette.requests import Request

LONGEST = 512  # characters of a text
MOST = 10**15  # of a number that has no limit of its own


class BadQuery(Exception):
    """A value that cannot be; the text says what was expected."""


def whole(request: Request, name: str, default: int, most: int = MOST, least: int = 0) -> int:
    """A whole number. Raises BadQuery."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if re.fullmatch("[0-9]{1,16}", given) is None or not least <= int(given) <= most:
        limits = f"from {least} to {most}"
        raise BadQuery(f"{name}: expected a whole number {limits}, found {given[:40]!r}")
    return int(given)


def text(request: Request, name: str) -> str:
    """A text, empty if none is given. Raises BadQuery."""
    return checked(name, request.query_params.get(name, ""))


def checked(name: str, given: str) -> str:
    """The same text, if it is not too long. Raises BadQuery."""
    if len(given) > LONGEST:
        raise BadQuery(f"{name}: expected at most {LONGEST} characters, found {len(given)}")
    return given


def last_event(request: Request) -> int:
    """The number of the last line that a page has heard, as the browser tells it; 0: none that we
    told."""
    told = request.headers.get("last-event-id", "")
    return int(told) if re.fullmatch("[0-9]{1,15}", told) else 0
