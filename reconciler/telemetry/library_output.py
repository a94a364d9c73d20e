"""Logs what libraries and the interpreter would write to stderr by themselves: the standard
library's `logging` (uvicorn, asyncio, grpc), warnings and uncaught exceptions.

A log collector takes every line of `run` for one of our own, so there must be no other. grpc's
core, which is not Python, is silenced where it is imported (`cri/__init__.py`).
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

from .logs import get_logger
from .troubles import Once, since_logged

FRAMES = 20  # of a trace, the innermost


def redirect_to_log() -> None:
    """Takes effect until the end of the process; call it after `logs.set_up`. Only for a process
    whose stderr is a log: tests have hooks of their own, commands write for people."""
    root = logging.getLogger()
    root.handlers = [_LibraryHandler()]
    root.level = logging.WARNING  # headers and tokens are below that
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    sys.excepthook = lambda kind, error, trace: _uncaught("the process", error)
    threading.excepthook = _in_a_thread
    sys.unraisablehook = lambda found: _uncaught(
        f"{found.err_msg or 'cleaning up'} {found.object!r}", found.exc_value
    )


class _LibraryHandler(logging.Handler):
    """Passes on what libraries log. Strangers can cause such lines (bytes that are not HTTP), so
    the same one is logged once and then counted."""

    def __init__(self) -> None:
        super().__init__()
        self._once = Once()

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):  # failing to log must not break what is logged
            text, trace = " ".join(record.getMessage().split()), dict[str, Any]()
            if record.exc_info and record.exc_info[1] is not None:
                text = f"{text}: {described(record.exc_info[1])}"
                trace["trace"] = frames(record.exc_info[1])
            count = self._once.due(record.name, text, time.monotonic())
            if count is None:
                return
            level = min(record.levelno // 10 * 10, logging.ERROR)
            get_logger().log(
                level,
                "library-trouble",
                library=record.name,
                detail=text,
                **trace,
                **since_logged(count),
            )


def _in_a_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_type is not SystemExit:
        name = found.thread.name if found.thread else "unknown"
        _uncaught(f"thread {name}", found.exc_value)


def _uncaught(where: str, error: BaseException | None) -> None:
    with contextlib.suppress(Exception):  # the interpreter may be half gone
        shown = {} if error is None else {"detail": described(error), "trace": frames(error)}
        get_logger().error("unexpected-error", where=where, **shown)


def described(error: BaseException) -> str:
    """An exception's type and message in a line, or those of all in a group."""
    return "; ".join(
        f"{type(one).__name__}: {' '.join(str(one).split())}".removesuffix(": ")
        for one in _leaves(error)
    )


def frames(error: BaseException) -> list[str]:
    """Where it was raised, the innermost call first."""
    (first, *_) = _leaves(error)
    trace = traceback.extract_tb(first.__traceback__)[-FRAMES:]
    return [f"{one.filename}:{one.lineno} {one.name}" for one in reversed(trace)]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error
