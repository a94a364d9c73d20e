"""Programs that tests run to their end."""

from __future__ import annotations

import shlex
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any

from tests.builders import HANGS

SHOWN = 2000  # characters of what a failed program printed


def output_of(command: Sequence[str], timeout: float = HANGS, **more: Any) -> str:
    """What a program prints to stdout; `more` is for subprocess.run. It has `timeout` seconds. A
    program that fails is an AssertionError that shows what it printed, stderr last."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, **more
    )
    if done.returncode != 0:
        printed = (done.stdout[-SHOWN:] + done.stderr[-SHOWN:]).strip()
        raise AssertionError(f"{shlex.join(command)} ended with {done.returncode}: {printed}")
    return done.stdout


def ends(call: Callable[[], object], timeout: float = 30.0) -> bool:
    """Whether a call returns in time, also if it hangs where no signal ends it. What it raises is
    reported as a warning of its thread, which fails a test too."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(timeout)
    return not thread.is_alive()
