"""What was read from files so far, while a policy is being read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from ..domain.policy import Exclusion, Expendable, Importance, Mark, Required
from .nodes import Sheet, text


@dataclass(slots=True)
class Draft:
    """What was read so far: single values by the field of `Policy` they set, and where."""

    values: dict[str, Any] = field(default_factory=dict)
    given: dict[str, tuple[yaml.Node, Sheet]] = field(default_factory=dict)  # dotted key -> where
    exclusions: list[Exclusion] = field(default_factory=list)
    importance: list[Importance] = field(default_factory=list)
    expendable: list[Expendable] = field(default_factory=list)
    required: list[Required] = field(default_factory=list)
    marks: dict[str, Mark] = field(default_factory=dict)
    misread: set[str] = field(default_factory=set)  # dotted keys whose values are not marks


def parsed(key: str, node: yaml.Node, sheet: Sheet, parse: Callable[[str], Any]) -> Any:
    value = text(node, sheet, key)
    if value is None:
        return None
    try:
        return parse(value)
    except ValueError as error:
        sheet.problem(node, f"{key}: {error}")
        return None
