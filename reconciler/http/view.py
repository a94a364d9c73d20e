"""What the HTTP server may read, and the two functions through which it may ask for something."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from ..domain.facts import Fact
from ..domain.plan import Plan
from ..domain.state import State
from ..store.history import Entry
from ..telemetry.metrics import Metrics
from ..telemetry.recent import Recent
from .health import Pulse


@dataclass(frozen=True, slots=True)
class View:
    """The daemon as the HTTP server sees it. It shares the loop's thread, so it may read the state
    between two awaits; it never edits it. `submit` puts a fact into the loop's mailbox."""

    state: State
    pulse: Pulse
    metrics: Metrics
    recent: Recent
    clock: Callable[[], float]  # seconds since 1970
    history: Callable[[int, float, str], Awaitable[tuple[Entry, ...]]]  # count, since, image
    submit: Callable[[Fact], None]
    latest: Callable[[], tuple[float, Plan] | None]  # the loop's own last plan, and its time
    began_at: float
    node: str = ""  # --node-name
    token_file: Path | None = None  # without one commands are refused
    open_to_token: bool = False  # whether the page and /api/v1 are answered beyond loopback
    arrived: Callable[[], int] = lambda: 0  # events received so far; long work gives way to them
    monotonic: Callable[[], float] = time.monotonic  # seconds, for spans only
