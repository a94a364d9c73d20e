"""`reconciler check FILE...`: validates policies; every problem on a line of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..policy.files import PolicyInvalid, parse_text, read_text
from .tables import heading


def check(files: Sequence[Path]) -> int:
    """Prints `file:line:column: problem` lines, warnings, or that a file is valid; 1 on any
    error."""
    bad = False
    for file in files:
        try:
            policy, warnings = parse_text(read_text(file))
        except PolicyInvalid as invalid:
            bad = True
            for problem in invalid.problems:
                heading(str(problem))
            continue
        for warning in warnings:
            heading(f"{warning.place}: warning: {warning.text}")
        heading(
            f"{file}: valid, mode {policy.mode.value}, {len(policy.exclusions)} patterns excluded"
        )
    return 1 if bad else 0
