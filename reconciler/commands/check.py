"""`reconciler check FILE...`: validates policies and prints each problem on its own line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..cri.client import open_client
from ..domain.humanize import counted
from ..domain.policy import Policy
from ..domain.runtime import RuntimeFailure
from ..domain.state import State
from ..domain.unmatched import all_unmatched, in_words
from ..host.clock import SteadyClock
from ..policy.files import PolicyInvalid, parse_text, read_text
from ..policy.nodes import Problem
from ..settings import FOUND, Settings
from .survey import relist, remembered
from .tables import heading

PATIENCE = 3.0  # seconds to wait for the runtime, which a policy does not need to be valid


async def check(files: Sequence[Path], settings: Settings | None) -> int:
    """Prints `file:line:column: problem` lines, warnings, or that a file is valid; 1 on any
    error. If a runtime answers, also which rules match none of its images."""
    read = [(file, _read(file)) for file in files]
    ruled = any(not isinstance(found, PolicyInvalid) and _has_rules(found[0]) for _, found in read)
    here = await known_here(settings) if ruled and settings is not None else None
    for file, found in read:
        if isinstance(found, PolicyInvalid):
            for problem in found.problems:
                heading(str(problem))
            continue
        policy, warnings = found
        for warning in warnings:
            heading(f"{warning.place}: warning: {warning.text}")
        for rule in all_unmatched(policy, here) if here is not None else ():
            heading(in_words(rule))
        heading(
            f"{file}: valid, mode {policy.mode.value}, "
            f"{counted(len(policy.exclusions), 'pattern')} excluded"
        )
    return 1 if any(isinstance(found, PolicyInvalid) for _, found in read) else 0


def _read(file: Path) -> tuple[Policy, tuple[Problem, ...]] | PolicyInvalid:
    try:
        return parse_text(read_text(file))
    except PolicyInvalid as invalid:
        return invalid


def _has_rules(policy: Policy) -> bool:
    return bool(policy.exclusions or policy.importance or policy.expendable or policy.required)


async def known_here(settings: Settings) -> State | None:
    """What the runtime lists and the ledger remembers; None if no runtime answers, with a note on
    stderr if one was configured."""
    endpoint, images = settings.runtime_endpoint, settings.image_endpoint
    if endpoint is None:
        return None
    clock = SteadyClock()
    state = remembered(settings, clock)
    try:
        async with open_client(endpoint, images, patience=PATIENCE, clock=clock) as client:
            await relist(client, state, clock)
    except RuntimeFailure as error:
        if settings.endpoint_from != FOUND:
            print(f"note: not compared with the images here: {error}", file=sys.stderr)
        return None
    return state
