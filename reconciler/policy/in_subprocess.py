"""Parsing outside the event loop: a child process for policies that take long."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import pickle
import sys
from pathlib import Path

from ..domain.policy import Policy
from .files import PolicyInvalid, PolicyUnsettled, Text, parse_text
from .nodes import Problem

# Bytes of all files from which on a child process does the parsing. 32 KiB are about 550 rules and
# take 15 ms here (our measurement); a child takes a fifth of a second to start.
LARGE = 32 << 10
CHILD_DEADLINE = 30.0  # seconds

Parsed = tuple[Policy, tuple[Problem, ...]]


async def load_policy_in_subprocess(text: Text, today: dt.date | None = None) -> Parsed:
    """Parses a text, in a child process if it is big, so that the loop continues; returns warnings
    too. Raises PolicyInvalid, or PolicyUnsettled if parsing did not finish."""
    if text.size <= LARGE:
        return parse_text(text, today)
    try:
        out = await _from_child(pickle.dumps((text, today)))
        answer = await asyncio.to_thread(pickle.loads, out)  # 20,000 rules: a third of a second
    except (OSError, TimeoutError, EOFError, pickle.UnpicklingError) as error:
        why = "takes too long" if isinstance(error, TimeoutError) else f"failed: {error}"
        raise PolicyUnsettled(
            [Problem.of_file(text.source, f"parsing in a child process {why}")]
        ) from error
    if isinstance(answer, list):
        raise PolicyInvalid(answer)
    assert isinstance(answer, tuple)
    return answer


async def _from_child(question: bytes) -> bytes:
    # -P and the path: the child imports this same program, and nothing from the working directory.
    root = str(Path(__file__).parents[2])
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "reconciler.policy.child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": root},
    )
    try:
        out, _ = await asyncio.wait_for(child.communicate(question), CHILD_DEADLINE)
        return out
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
