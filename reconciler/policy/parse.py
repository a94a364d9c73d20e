"""Nodes -> `Policy`: every policy key, with one reader each.

A file may have any of the keys; missing keys have their defaults. All problems are collected, so
that an operator sees them at once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import yaml

from ..domain.policy import Mark, Mode, Policy, Watermarks
from .draft import Draft, parsed
from .kubelet import kubelet
from .nodes import Sheet, compose, mapping, text
from .rules import exclusions, expendable, importance, required
from .values import parse_duration, parse_mark, parse_percent, parse_size

AUTO = "auto"
API_VERSION, KIND = "reconciler/v1", "ImagePolicy"


def read_into(draft: Draft, data: bytes, sheet: Sheet, today: dt.date) -> None:
    """Reads one file's text into the draft, and its problems into the sheet."""
    root = compose(data, sheet)
    if root is None:
        if not sheet.problems:
            sheet.at(1, 1, f"the file is empty; expected kind: {KIND}")
        return
    found = mapping(root, sheet, KEYS, "policy")
    if isinstance(root, yaml.MappingNode):
        _check_header(root, found, sheet)
    for key, node in found.items():
        if key in LISTS or _take(key, node, draft, sheet):
            KEYS[key](key, node, draft, sheet, today)


def finish(draft: Draft, source: str) -> Policy:
    """Returns the policy, after every file was read; marks are compared where they can be."""
    marks = Watermarks(
        high=draft.marks.get("watermarks.high"),
        low=draft.marks.get("watermarks.low"),
        inodes_high=draft.marks.get("watermarks.inodes.high"),
        inodes_low=draft.marks.get("watermarks.inodes.low"),
    )
    _check_marks(draft, "watermarks", marks.high, marks.low)
    _check_marks(draft, "watermarks.inodes", marks.inodes_high, marks.inodes_low)
    return Policy(
        watermarks=marks,
        exclusions=tuple(draft.exclusions),
        importance=tuple(draft.importance),
        expendable=tuple(draft.expendable),
        required=tuple(draft.required),
        source=source,
        **draft.values,
    )


def _take(key: str, node: yaml.Node, draft: Draft, sheet: Sheet) -> bool:
    """Notes where a key is set; a second time, in another file, is a problem that names both."""
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


def _check_marks(draft: Draft, what: str, high: Mark | None, low: Mark | None) -> None:
    node, sheet = draft.given.get("watermarks", (None, None))
    keys = (f"{what}.low", f"{what}.high")
    if node is None or sheet is None or draft.misread.intersection(keys) or low is None:
        return
    at = _inside(draft, keys[0]) or node
    if high is None:
        # Whether it is below the high mark would depend on kubelet's lines.
        sheet.problem(
            at, f"{keys[0]} ({low}) needs {keys[1]} too; only the high mark may be set alone"
        )
        return
    shown = [f"{key} ({mark})" for key, mark in zip(keys, (low, high), strict=True)]
    if (high.percent is None) != (low.percent is None):
        # Which of the two is lower would differ from node to node.
        sheet.problem(at, f"{' and '.join(shown)} must both be shares or both be bytes")
    elif (low.percent or low.bytes or 0) >= (high.percent or high.bytes or 0):
        sheet.problem(at, f"{' must be below '.join(shown)}")


def _inside(draft: Draft, key: str) -> yaml.Node | None:
    found = draft.given.get(key)
    return found[0] if found else None


# --- readers: one for each key ----------------------------------------------------------------

Reader = Callable[[str, yaml.Node, Draft, Sheet, dt.date], None]


def _value(name: str, parse: Callable[[str], Any]) -> Reader:
    """A reader of one value into one field of `Policy`."""

    def read(key: str, node: yaml.Node, draft: Draft, sheet: Sheet, today: dt.date) -> None:
        value = parsed(key, node, sheet, parse)
        if value is not None:
            draft.values[name] = value

    return read


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
    if _is_auto(node):
        return
    if isinstance(node, yaml.ScalarNode):
        text = f"{key}: expected auto, or high and low, found {node.value[:40]!r}"
        sheet.problem(node, text)
        return
    found = mapping(node, sheet, ("high", "low", "inodes"), key)
    inodes = found.pop("inodes", None)
    _marks(key, found, draft, sheet, parse_mark)
    if inodes is not None and not _is_auto(inodes):
        name = f"{key}.inodes"
        _marks(name, mapping(inodes, sheet, ("high", "low"), name), draft, sheet, _percent_mark)


def _is_auto(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.value == AUTO


def _marks(
    key: str,
    found: dict[str, yaml.Node],
    draft: Draft,
    sheet: Sheet,
    parse: Callable[[str], Mark],
) -> None:
    for name, node in found.items():
        if _is_auto(node):
            continue
        mark = parsed(f"{key}.{name}", node, sheet, parse)
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


def _nothing(key: str, node: yaml.Node, draft: Draft, sheet: Sheet, today: dt.date) -> None:
    """apiVersion and kind were checked already."""


KEYS: dict[str, Reader] = {
    "apiVersion": _nothing,
    "kind": _nothing,
    "mode": _value("mode", _mode),
    "watermarks": _watermarks,
    "kubelet": kubelet,
    "minimumAge": _value("minimum_age", parse_duration),
    "maximumUnusedAge": _value("maximum_unused_age", parse_duration),
    "minimumSize": _value("minimum_size", parse_size),
    "comeBackFor": _value("come_back_for", parse_duration),
    "protectUnpullable": _value("protect_unpullable", _flag),
    "system": _system,
    "exclusions": exclusions,
    "importance": importance,
    "expendable": expendable,
    "requiredImages": required,
}
LISTS = ("exclusions", "importance", "expendable", "requiredImages")  # files add to them
