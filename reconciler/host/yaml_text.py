"""The first document of another program's YAML, with every value as text, null or a truth value: so
whatever parses can be built, and costs no more than its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

MAX_DEPTH = 32  # levels
_NULL, _BOOL = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"


class NotUsable(ValueError):
    """A text that is no YAML, or none that is read here; continues after "the file is"."""


class _Loader(yaml.CBaseLoader):
    """Makes text of what other loaders make numbers and dates of, and fail at 2024-13-45."""


_Loader.add_implicit_resolver(_NULL, re.compile("^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    _BOOL, re.compile("^(?:true|false|yes|no|on|off)$", re.IGNORECASE), [*"tTfFyYnNoO"]
)
_Loader.add_constructor(_NULL, lambda loader, node: None)
_Loader.add_constructor(
    _BOOL, lambda loader, node: str(node.value).lower() in {"true", "yes", "on"}
)


def first_document(text: str) -> Any:
    """Returns it; None where it is empty or there is none. Raises NotUsable."""
    try:
        _check(yaml.parse(text, Loader=_Loader))
        return next(yaml.load_all(text, Loader=_Loader), None)
    except yaml.YAMLError as error:
        raise NotUsable(f"not valid YAML: {' '.join(str(error).split())}") from error


def _check(events: Iterable[yaml.Event]) -> None:
    """Raises NotUsable before anything is built: a deep tree would exhaust the stack, aliases of
    lists within lists the memory. An alias of a single value is harmless."""
    depth, single = 0, set()
    for event in events:
        if isinstance(event, yaml.DocumentEndEvent):
            return
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise NotUsable(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.ScalarEvent):
            single.add(event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            single.discard(event.anchor)
        elif isinstance(event, yaml.AliasEvent) and event.anchor not in single:
            raise NotUsable(f"using *{event.anchor}, an alias of keys and values or of a list")
