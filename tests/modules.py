"""docs/modules.md: every module with the first sentence of its own docstring, and what each room
may import. `python -m tests.modules` writes it; a test fails when it is out of date."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import reconciler

from .test_layers import MAY_IMPORT

PACKAGE = Path(reconciler.__file__).parent
FILE = PACKAGE.parent / "docs/modules.md"
HEAD = (
    "# Modules\n\n"
    "Every module, by its own first sentence, in rooms that may import what their line says and "
    "nothing else. Written by `python -m tests.modules`; how the parts fit is in "
    "[architecture.md](architecture.md).\n"
)


def first_sentence(path: Path) -> str:
    """The first sentence of a module's docstring, on one line."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.])\s", text)[0]


def modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """The modules of a room, with their names below it, without generated code."""
    for path in sorted(folder.rglob("*.py")):
        if "_pb" not in path.parts and path.name != "__init__.py":
            yield ".".join(path.relative_to(folder).with_suffix("").parts), path


def document() -> str:
    """The whole of docs/modules.md."""
    alone = [path for path in sorted(PACKAGE.glob("*.py")) if path.name != "__init__.py"]
    parts = [HEAD, "## Outside the rooms\n"]
    parts += [_line(f"reconciler.{path.stem}", path, path.stem) for path in alone]
    for room, others in MAY_IMPORT.items():
        folder = PACKAGE / room
        if not folder.is_dir():
            continue
        parts.append(f"\n## {room}\n\n{first_sentence(folder / '__init__.py')} {_may(others)}\n")
        parts += [_line(name, path) for name, path in modules(folder)]
    return "\n".join(parts) + "\n"


def _line(name: str, path: Path, room: str = "") -> str:
    may = f" {_may(MAY_IMPORT[room])}" if room else ""
    return f"- `{name}`: {first_sentence(path)}{may}"


def _may(others: set[str]) -> str:
    named = ", ".join(f"`{one}`" for one in sorted(others))
    return f"*Imports {named}.*" if named else "*Imports nothing of ours.*"


if __name__ == "__main__":
    FILE.write_text(document())
