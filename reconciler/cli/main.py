"""argv -> settings -> one command -> exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from ..domain.runtime import RuntimeFailure
from ..host.lock import LockUnavailable
from ..settings import SettingsError
from .calls import BAD_NEWS, DONE, NO_ANSWER, USAGE, call, in_words
from .parser import build_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Never a traceback for what a user can cause."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8
    parser = build_parser()
    arguments = parser.parse_args(argv)
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:  # a full disk, a file of another user
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail(in_words(error), BAD_NEWS)


def _fail(error: Exception | str, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code
