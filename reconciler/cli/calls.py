"""Calls each command with its arguments, and returns its exit code.

    0 done    1 bad news    2 usage, or an ambiguous image    3 the runtime did not answer

What a command needs is imported when that command is chosen, and not before.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from ..host.lock import LockUnavailable
from ..settings import Settings, SettingsError, resolve

DONE, BAD_NEWS, USAGE, NO_ANSWER = 0, 1, 2, 3


def call(arguments: argparse.Namespace) -> int:
    """Runs the chosen command. Raises SettingsError, RuntimeFailure, LockUnavailable, OSError."""
    return CALLS[arguments.command](arguments)


def in_words(error: OSError) -> str:
    """An error of the operating system, for people."""
    why = error.strerror or str(error)
    return f"{error.filename}: {why}" if error.filename is not None else why


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = resolve(vars(arguments))
    for warning in settings.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return settings


def _await(coroutine: Coroutine[Any, Any, int]) -> int:
    import asyncio

    return asyncio.run(coroutine)


def _run(arguments: argparse.Namespace) -> int:
    from ..app import run
    from ..http.server import ListenFailed
    from ..telemetry import logs

    try:
        return _await(run(resolve(vars(arguments))))
    except SettingsError as error:
        if arguments.log_format != "json":
            raise
        logs.set_up(True, "info")
        return _not_started(error, USAGE)
    except (ListenFailed, LockUnavailable) as error:
        return _not_started(error, BAD_NEWS)
    except OSError as error:
        return _not_started(in_words(error), BAD_NEWS)


def _not_started(error: Exception | str, code: int) -> int:
    """Logs why the daemon could not start: its stderr is a log, which programs read."""
    from ..telemetry.logs import get_logger

    get_logger().error("not-started", detail=str(error))
    return code


def _prune(arguments: argparse.Namespace) -> int:
    from ..commands.prune import PruneOptions, prune

    options = PruneOptions(arguments.to, arguments.all_unused, arguments.minimum_age)
    return _await(prune(_settings(arguments), options))


def _plan(arguments: argparse.Namespace) -> int:
    from ..commands.plan import plan

    return _await(plan(_settings(arguments), arguments.output, arguments.minimum_age))


def _explain(arguments: argparse.Namespace) -> int:
    from ..commands.explain import explain

    return _await(explain(_settings(arguments), arguments.image, arguments.output))


def _check(arguments: argparse.Namespace) -> int:
    from ..commands.check import check

    try:
        settings = _settings(arguments)
    except SettingsError as error:  # the policy may be for another node
        print(f"note: not compared with the images here: {error}", file=sys.stderr)
        settings = None
    return _await(check(arguments.files, settings))


def _diff(arguments: argparse.Namespace) -> int:
    from ..commands.diff import diff

    return _await(diff(_settings(arguments), arguments.file, arguments.output))


def _status(arguments: argparse.Namespace) -> int:
    from ..commands.status import status

    return status(_settings(arguments), arguments.output)


def _top(arguments: argparse.Namespace) -> int:
    from ..commands.top import top

    return top(_settings(arguments), arguments.every, arguments.count)


def _history(arguments: argparse.Namespace) -> int:
    from ..commands.history import history

    since, image, count = arguments.since, arguments.image, arguments.count
    return history(_settings(arguments), arguments.output, since, image, count)


def _images(arguments: argparse.Namespace) -> int:
    from ..commands.images import images

    chosen = arguments.sort, arguments.filter, arguments.verdict
    return _await(images(_settings(arguments), arguments.output, *chosen))


def _record(arguments: argparse.Namespace) -> int:
    from ..commands.record import record

    return _await(record(_settings(arguments), arguments.out, anonymize=arguments.anonymize))


def _simulate(arguments: argparse.Namespace) -> int:
    from ..commands.simulate import Question, simulate

    question = Question(
        arguments.watermarks,
        arguments.order,
        arguments.source,
        arguments.workload,
        arguments.seed,
        arguments.disk,
        arguments.traces,
        arguments.plot,
        arguments.output,
    )
    return _await(simulate(_settings(arguments), question))


def _demo(arguments: argparse.Namespace) -> int:
    from ..commands.demo import demo

    return _await(demo(arguments.seconds, arguments.seed, plain=arguments.plain))


def _completion(arguments: argparse.Namespace) -> int:
    from .completion import script_of
    from .parser import build_parser

    print(script_of(arguments.shell, build_parser()), end="")
    return DONE


CALLS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "prune": _prune,
    "plan": _plan,
    "explain": _explain,
    "check": _check,
    "diff": _diff,
    "status": _status,
    "top": _top,
    "history": _history,
    "images": _images,
    "record": _record,
    "simulate": _simulate,
    "demo": _demo,
    "completion": _completion,
}
