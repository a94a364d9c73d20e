"""YAML text -> nodes with line and column, and the problems found on the way.

What YAML can do beyond plain data is refused: aliases (an alias bomb is a few lines of them), tags,
merge keys, several documents, duplicate keys.
"""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ..domain.humanize import counted
from ..domain.policy import Place

MAX_DEPTH = 32  # levels of nesting
MOST = 50  # problems listed for one file; the others are counted
LONGEST = 300  # characters of one problem's text
QUOTE_IT = "to write a pattern that begins with '*', quote it"

# libyaml's loader: 10 to 16 times faster than the one in Python (our measurement).
Loader = yaml.CSafeLoader

# What YAML 1.1 calls not printable. libyaml refuses it too, but gives the place in bytes.
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML 1.1 ends a line with


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong, and where: `file:line:column: what was expected, what was found`."""

    place: Place
    text: str

    @classmethod
    def of_file(cls, path: Path | str, text: str) -> Problem:
        """A problem of a whole file or directory."""
        return cls(Place(str(path), 1, 1), text)

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(slots=True)
class Sheet:
    """One file being read: its name, and its problems and warnings so far."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    omitted: int = 0  # problems beyond MOST

    def place(self, node: yaml.Node, offset: int = 0) -> Place:
        """Where a node begins; `offset` characters into the text of a scalar, if it is written
        on one line without escapes."""
        mark = node.start_mark
        inside = _width_before(node, offset) if offset else 0
        return Place(self.file, mark.line + 1, mark.column + 1 + inside)

    def problem(self, node: yaml.Node, text: str, offset: int = 0) -> None:
        self._note(self.place(node, offset), text)

    def warning(self, node: yaml.Node, text: str) -> None:
        self.warnings.append(Problem(self.place(node), text))

    @property
    def full(self) -> bool:
        """Whether no more problems are listed."""
        return len(self.problems) >= MOST

    def found(self) -> list[Problem]:
        """The problems, in the order of the file."""
        found = sorted(self.problems, key=lambda one: (one.place.line, one.place.column))
        if self.omitted:
            more = f"and {counted(self.omitted, 'more problem')} in this file"
            found.append(Problem(found[-1].place, more))
        return found

    def at(self, line: int, column: int, text: str) -> None:
        self._note(Place(self.file, line, column), text)

    def _note(self, place: Place, text: str) -> None:
        if self.full:
            self.omitted += 1
            return
        shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
        self.problems.append(Problem(place, shown))


def _width_before(node: yaml.Node, offset: int) -> int:
    """Columns from where a scalar begins to a place in its text; 0 where value and source differ
    (escapes, several lines): then the problem points at the scalar itself."""
    assert isinstance(node, yaml.ScalarNode)
    quotes = 1 if node.style in ("'", '"') else 0
    start, end = node.start_mark, node.end_mark
    width = end.column - start.column if start.line == end.line else -1
    return offset + quotes if width == len(node.value) + 2 * quotes else 0


def compose(data: bytes, sheet: Sheet) -> yaml.Node | None:
    """The one document's root; None with a problem noted, or for an empty text."""
    text = _decoded(data, sheet)
    if text is None:
        return None
    try:
        if _is_plain(yaml.parse(text, Loader=Loader), sheet):
            root: yaml.Node | None = yaml.compose(text, Loader=Loader)
            return root
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if mark and not _is_plain_before(text[: mark.index], sheet):
            return None
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        context = f" ({error.context})" if error.context else ""
        hint = f"; {QUOTE_IT}" if "alias" in context else ""
        sheet.at(line, column, f"not valid YAML: {error.problem}{context}{hint}")
    except yaml.YAMLError as error:
        sheet.at(1, 1, f"not valid YAML: {' '.join(str(error).split())}")
    return None


def _is_plain_before(text: str, sheet: Sheet) -> bool:
    """Checks the text before a syntax error. libyaml reads up to 1024 characters ahead of its
    events, and a newer version gives up at 1000 levels, before it has reported the 33rd."""
    try:
        return _is_plain(yaml.parse(text, Loader=Loader), sheet)
    except yaml.YAMLError:
        return True


def _is_plain(events: Iterable[yaml.Event], sheet: Sheet) -> bool:
    """Checks the events before a tree is built from them: a deep tree would exhaust the C stack,
    an alias bomb the memory."""
    depth = documents = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        fault = _fault(event, depth, documents)
        if fault is not None:
            mark = event.start_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            sheet.at(line, column, fault)
            return False
    return True


def _fault(event: yaml.Event, depth: int, documents: int) -> str | None:
    if documents > 1:
        return "expected one document, found a second one"
    if depth > MAX_DEPTH:
        return f"nested deeper than {MAX_DEPTH} levels"
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        return f"anchors and aliases (&, *) are not supported; {QUOTE_IT}"
    if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag not in (
        None,
        "!",
    ):
        return f"tags are not supported, found {event.tag}"
    return None


def _decoded(data: bytes, sheet: Sheet) -> str | None:
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        found = f"expected UTF-8, found the byte 0x{data[error.start]:02x}"
        sheet.at(*_line_and_column(before), found)
        return None
    unprintable = _UNPRINTABLE.search(text)
    if unprintable is not None:
        found = f"not valid YAML: the character U+{ord(unprintable[0]):04X} is not allowed"
        sheet.at(*_line_and_column(text[: unprintable.start()]), found)
        return None
    return text


def _line_and_column(before: str) -> tuple[int, int]:
    """The place right after a text, counted from 1."""
    lines = _BREAK.split(before)
    return len(lines), len(lines[-1]) + 1


def mapping(node: yaml.Node, sheet: Sheet, keys: Iterable[str], what: str) -> dict[str, yaml.Node]:
    """A mapping's values by key; unknown and duplicate keys are problems."""
    if not isinstance(node, yaml.MappingNode):
        sheet.problem(node, f"{what}: expected keys and values, found {kind_of(node)}")
        return {}
    known = list(keys)
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            sheet.problem(key, f"{what}: expected a key, found {kind_of(key)}")
            continue
        name = key.value
        if name not in known:
            hint = "" if sheet.full else _did_you_mean(name[:40], known)  # the search takes time
            sheet.problem(key, f"{what}: unknown key {name[:40]!r}{hint}")
        elif name in found:
            sheet.problem(key, f"{what}: key {name!r} is given twice")
        else:
            found[name] = value
    return found


def sequence(node: yaml.Node, sheet: Sheet, what: str) -> list[yaml.Node]:
    """A list's items."""
    if not isinstance(node, yaml.SequenceNode):
        sheet.problem(node, f"{what}: expected a list, found {kind_of(node)}")
        return []
    return list(node.value)


def text(node: yaml.Node, sheet: Sheet, what: str) -> str | None:
    """A scalar's text, without YAML's types; None with a problem noted."""
    if isinstance(node, yaml.ScalarNode) and not node.tag.endswith(":null"):
        return str(node.value)
    sheet.problem(node, f"{what}: expected a value, found {kind_of(node)}")
    return None


def kind_of(node: yaml.Node) -> str:
    """What a node is, in words."""
    if isinstance(node, yaml.MappingNode):
        return "keys and values"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if node.tag.endswith(":null") else f"{str(node.value)[:40]!r}"


def _did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; expected one of {', '.join(known)}"
