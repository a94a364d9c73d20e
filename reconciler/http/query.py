"""Reads query parameters and headers. No parameter is cut or clamped: an invalid one is refused,
with what was expected."""

from __future__ import annotations

import re

from starlette.requests import Request

LONGEST = 512  # characters
MOST = 10**15  # the default upper limit of a number


class BadQuery(Exception):
    """An invalid value; the text says what was expected."""


def whole_number(
    request: Request, name: str, default: int, most: int = MOST, least: int = 0
) -> int:
    """A parameter that is a whole number. Raises BadQuery."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if re.fullmatch("[0-9]{1,16}", given) is None or not least <= int(given) <= most:
        limits = f"from {least} to {most}"
        raise BadQuery(f"{name}: expected a whole number {limits}, found {given[:40]!r}")
    return int(given)


def text(request: Request, name: str) -> str:
    """A parameter that is text, empty if not given. Raises BadQuery."""
    return checked(name, request.query_params.get(name, ""))


def checked(name: str, given: str) -> str:
    """Returns the text if it is not too long. Raises BadQuery."""
    if len(given) > LONGEST:
        raise BadQuery(f"{name}: expected at most {LONGEST} characters, found {len(given)}")
    return given


def last_event(request: Request) -> int:
    """The number of the last line a page received, as its browser sends it; 0: none of ours."""
    last = request.headers.get("last-event-id", "")
    return int(last) if re.fullmatch("[0-9]{1,15}", last) else 0


def accepts(header: str, name: str) -> bool:
    """Whether an Accept or Accept-Encoding header lists a value, and not with the weight 0."""
    for part in header.split(","):
        value, *parameters = (one.strip().lower() for one in part.split(";"))
        if value == name:
            return not any(re.fullmatch(r"q\s*=\s*0(\.0*)?", one) for one in parameters)
    return False
