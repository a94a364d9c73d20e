"""argv -> settings -> one command -> exit code."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from ..domain.runtime import RuntimeFailure
from ..host.lock import LockUnavailable
from ..settings import SettingsError
from .calls import BAD_NEWS, DONE, NO_ANSWER, USAGE, call, in_words
from .parser import build_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Never a traceback for what a user can cause."""
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8
    parser = build_parser()
    arguments = parser.parse_args(argv)
    code = BAD_NEWS  # until the command has come to its end
    try:
        code = call(arguments)
        sys.stdout.flush()
        return code
    except SettingsError as error:
        parser.print_usage(sys.stderr)
        return _fail(error, USAGE)
    except LockUnavailable as error:
        return _fail(error, BAD_NEWS)
    except RuntimeFailure as error:
        return _fail(error, NO_ANSWER)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `reconciler plan | head`: nobody reads on
        _silence(sys.stdout)
        _silence(sys.stderr)
        return code if _removes(arguments) else DONE
    except OSError as error:  # a full disk, a file of another user
        _silence(sys.stdout)
        return _fail(in_words(error), BAD_NEWS)


def _open_what_is_closed() -> None:
    """Opens /dev/null for a standard stream that the caller closed (`>&-`), which Python leaves
    None. It stays open: the next file that is opened must not take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _silence(stream: TextIO) -> None:
    """Sends what is left in a stream's buffer nowhere: writing it at the end would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _removes(arguments: argparse.Namespace) -> bool:
    return arguments.command == "prune" and not arguments.dry_run


def _fail(error: Exception | str, code: int) -> int:
    try:
        print(f"error: {error}", file=sys.stderr)
    except OSError:  # stderr is what is full, or what nobody reads
        _silence(sys.stderr)
    return code
