"""Prints tables on a terminal, plain text in a pipe. Names are untrusted: control characters,
escape sequences and bidirectional marks are shown, never sent to the terminal."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from ..domain.hold import NARROWING, Hold
from ..domain.neutral import neutralised


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def hold_text(hold: Hold) -> str:
    """A hold on a command that runs once, for which no doubt ever narrows."""
    text = f"({hold.reason.value}): {hold.detail}"
    advice = ", in a daemon that runs until then; a command begins anew each time"
    return text + advice if hold.reason in NARROWING else text


def heading(text: str) -> None:
    print(neutralised(text))


def emit(table: Table) -> None:
    """Prints a table; nothing if it has no rows."""
    if not table.rows:
        return
    rows = [tuple(neutralised(cell) for cell in row) for row in table.rows]
    if sys.stdout.isatty():
        _on_terminal(table, rows)
    else:
        _as_text(table, rows)


def _on_terminal(table: Table, rows: list[tuple[str, ...]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in table.columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)


def _as_text(table: Table, rows: list[tuple[str, ...]]) -> None:
    lines = [tuple(column.upper() for column in table.columns), *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(table.columns) - 1)]
    print(f"\n{table.title}:")
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        print("  ".join([*cells, line[-1]]))
