"""Nodes -> `Policy`: every key of the operator's contract, one reader each.

A file may give any of the keys; what it does not give is the default. All problems are gathered, so
that an operator sees them at once.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from ..domain.policy import Exclusion, Mark, Mode, Policy, Required, Watermarks
from ..domain.reference import InvalidPattern, Pattern, parse_pattern
from .nodes import Sheet, compose, mapping, sequence, text
from .values import parse_duration, parse_mark, parse_percent, parse_size

API_VERSION, KIND = "reconciler/v1", "ImagePolicy"
WARN_AHEAD = dt.timedelta(days=7)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(slots=True)
class Draft:
    """What files gave so far: single values by the field of `Policy` they set, and where."""

    values: dict[str, Any] = field(default_factory=dict)
    given: dict[str, tuple[yaml.Node, Sheet]] = field(default_factory=dict)  # dotted key -> where
    exclusions: list[Exclusion] = field(default_factory=list)
    required: list[Required] = field(default_factory=list)
    marks: dict[str, Mark] = field(default_factory=dict)
    misread: set[str] = field(default_factory=set)  # dotted keys of marks that are no marks


def read_into(draft: Draft, data: bytes, sheet: Sheet, today: dt.date) -> None:
    """Reads one file's text into the draft; what is wrong goes onto the sheet."""
    root = compose(data, sheet)
    if root is None:
        if not sheet.problems:
            sheet.at(1, 1, f"the file is empty; expected kind: {KIND}")
        return
    found = mapping(root, sheet, KEYS, "policy")
    if isinstance(root, yaml.MappingNode):
        _check_header(root, found, sheet)
    for key, node in found.items():
        if key in ("exclusions", "requiredImages") or _take(key, node, draft, sheet):
            KEYS[key](key, node, draft, sheet, today)


def finish(draft: Draft, source: str) -> Policy:
    """The policy, once every file was read; marks are compared where they can be."""
    defaults = Watermarks()
    marks = Watermarks(
        high=draft.marks.get("watermarks.high", defaults.high),
        low=draft.marks.get("watermarks.low", defaults.low),
        inodes_high=draft.marks.get("watermarks.inodes.high", defaults.inodes_high),
        inodes_low=draft.marks.get("watermarks.inodes.low", defaults.inodes_low),
    )
    _check_marks(draft, "watermarks", marks.high, marks.low)
    _check_marks(draft, "watermarks.inodes", marks.inodes_high, marks.inodes_low)
    return Policy(
        watermarks=marks,
        exclusions=tuple(draft.exclusions),
        required=tuple(draft.required),
        source=source,
        **draft.values,
    )


def _take(key: str, node: yaml.Node, draft: Draft, sheet: Sheet) -> bool:
    """Notes where a key is given; a second time, in another file, is a problem that names both."""
    if key in ("apiVersion", "kind"):
        return False
    if key in draft.given:
        first, other = draft.given[key]
        sheet.problem(node, f"{key} is set already at {other.place(first)}")
        return False
    draft.given[key] = (node, sheet)
    return True


def _check_header(root: yaml.Node, found: dict[str, yaml.Node], sheet: Sheet) -> None:
    for key, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        node = found.get(key)
        if node is None:
            sheet.problem(root, f"expected {key}: {expected}, found no {key}")
        elif (value := text(node, sheet, key)) is not None and value != expected:
            sheet.problem(node, f"{key}: expected {expected}, found {value!r}")


def _check_marks(draft: Draft, what: str, high: Mark, low: Mark) -> None:
    node, sheet = draft.given.get("watermarks", (None, None))
    keys = (f"{what}.low", f"{what}.high")
    if node is None or sheet is None or draft.misread.intersection(keys):
        return
    told = [
        f"{key} ({mark}{_default(draft, key)})" for key, mark in zip(keys, (low, high), strict=True)
    ]
    at = _inside(draft, keys[0]) or _inside(draft, keys[1]) or node
    if (high.percent is None) != (low.percent is None):
        # Which of the two is lower would differ from node to node.
        sheet.problem(at, f"{' and '.join(told)} must both be shares or both be bytes")
    elif (low.percent or low.bytes or 0) >= (high.percent or high.bytes or 0):
        sheet.problem(at, f"{' must be below '.join(told)}")


def _default(draft: Draft, key: str) -> str:
    return "" if key in draft.given else ", the default"


def _inside(draft: Draft, key: str) -> yaml.Node | None:
    found = draft.given.get(key)
    return found[0] if found else None


# --- readers: one for each key ----------------------------------------------------------------

Reader = Callable[[str, yaml.Node, Draft, Sheet, dt.date], None]


def _value(name: str, parse: Callable[[str], Any]) -> Reader:
    """A reader of one value into one field of `Policy`."""

    def read(key: str, node: yaml.Node, draft: Draft, sheet: Sheet, today: dt.date) -> None:
        parsed = _parsed(key, node, sheet, parse)
        if parsed is not None:
            draft.values[name] = parsed

    return read


def _parsed(key: str, node: yaml.Node, sheet: Sheet, parse: Callable[[str], Any]) -> Any:
    value = text(node, sheet, key)
    if value is None:
        return None
    try:
        return parse(value)
    except ValueError as error:
        sheet.problem(node, f"{key}: {error}")
        return None


def _mode(value: str) -> Mode:
    try:
        return Mode(value)
    except ValueError:
        raise ValueError(f"expected observe or enforce, found {value!r}") from None


def _flag(value: str) -> bool:
    if value in ("true", "false"):
        return value == "true"
    raise ValueError(f"expected true or false, found {value!r}")


def _percent_mark(value: str) -> Mark:
    return Mark(percent=parse_percent(value))


def _watermarks(key: str, node: yaml.Node, draft: Draft, sheet: Sheet, today: dt.date) -> None:
    found = mapping(node, sheet, ("high", "low", "inodes"), key)
    inodes = found.pop("inodes", None)
    _marks(key, found, draft, sheet, parse_mark)
    if inodes is not None:
        name = f"{key}.inodes"
        _marks(name, mapping(inodes, sheet, ("high", "low"), name), draft, sheet, _percent_mark)


def _marks(
    key: str,
    found: dict[str, yaml.Node],
    draft: Draft,
    sheet: Sheet,
    parse: Callable[[str], Mark],
) -> None:
    for name, node in found.items():
        mark = _parsed(f"{key}.{name}", node, sheet, parse)
        if mark is not None:
            draft.marks[f"{key}.{name}"] = mark
            draft.given[f"{key}.{name}"] = (node, sheet)
        else:
            draft.misread.add(f"{key}.{name}")


def _system(key: str, node: yaml.Node, draft: Draft, sheet: Sheet, today: dt.date) -> None:
    found = mapping(node, sheet, ("enabled", "keepFor"), key)
    if "enabled" in found:
        _value("system_enabled", _flag)(f"{key}.enabled", found["enabled"], draft, sheet, today)
    if "keepFor" in found:
        read = _value("system_keep_for", parse_duration)
        read(f"{key}.keepFor", found["keepFor"], draft, sheet, today)


def _exclusions(key: str, node: yaml.Node, draft: Draft, sheet: Sheet, today: dt.date) -> None:
    for number, item in enumerate(sequence(node, sheet, key)):
        what = f"{key}[{number}]"
        found = mapping(item, sheet, ("images", "reason", "until"), what)
        if "images" not in found:
            if isinstance(item, yaml.MappingNode):
                sheet.problem(item, f"{what}: expected images: [pattern, ...], found none")
            continue
        reason = text(found["reason"], sheet, f"{what}.reason") if "reason" in found else None
        until = _until(f"{what}.until", found.get("until"), sheet, today)
        images = sequence(found["images"], sheet, f"{what}.images")
        if not images and isinstance(found["images"], yaml.SequenceNode):
            sheet.warning(found["images"], f"{what}: a rule without patterns protects nothing")
        for image in images:
            pattern = _pattern(f"{what}.images", image, sheet)
            if pattern is not None:
                draft.exclusions.append(Exclusion(pattern, sheet.place(image), reason, until))


def _until(key: str, node: yaml.Node | None, sheet: Sheet, today: dt.date) -> dt.date | None:
    if node is None:
        return None
    until = _parsed(key, node, sheet, _date)
    if until is None:
        return None
    assert isinstance(until, dt.date)
    if until < today:
        sheet.warning(node, f"{key}: this rule ended with {until} and protects nothing any more")
    elif until - today <= WARN_AHEAD:
        sheet.warning(node, f"{key}: this rule protects until the end of {until} (UTC) only")
    return until


def _date(value: str) -> dt.date:
    try:
        if _DATE.fullmatch(value):  # fromisoformat takes weeks and days of the year too
            return dt.date.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError(f"expected a date like 2027-01-31, found {value[:40]!r}")


def _required(key: str, node: yaml.Node, draft: Draft, sheet: Sheet, today: dt.date) -> None:
    for image in sequence(node, sheet, key):
        pattern = _pattern(key, image, sheet)
        if pattern is not None:
            draft.required.append(Required(pattern, sheet.place(image)))


def _pattern(key: str, node: yaml.Node, sheet: Sheet) -> Pattern | None:
    value = text(node, sheet, key)
    if value is None:
        return None
    try:
        return parse_pattern(value)
    except InvalidPattern as error:
        sheet.problem(node, f"{key}: {error}", error.offset)
        return None


def _nothing(key: str, node: yaml.Node, draft: Draft, sheet: Sheet, today: dt.date) -> None:
    """apiVersion and kind were looked at already."""


KEYS: dict[str, Reader] = {
    "apiVersion": _nothing,
    "kind": _nothing,
    "mode": _value("mode", _mode),
    "watermarks": _watermarks,
    "minimumAge": _value("minimum_age", parse_duration),
    "maximumUnusedAge": _value("maximum_unused_age", parse_duration),
    "minimumSize": _value("minimum_size", parse_size),
    "comeBackFor": _value("come_back_for", parse_duration),
    "protectUnpullable": _value("protect_unpullable", _flag),
    "system": _system,
    "exclusions": _exclusions,
    "requiredImages": _required,
}
