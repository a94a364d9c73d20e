"""argv -> settings -> one command -> exit code. What each exit code means:

    0 done    1 bad news    2 usage, or an ambiguous image    3 the runtime did not answer

The standard library's argparse reads the flags, since the daemon reads them too and must stay
small; whatever a command needs besides is imported when that command is chosen.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..domain.runtime import RuntimeFailure
from ..host.lock import LockUnavailable
from ..settings import Settings, SettingsError, resolve
from . import examples, flags

DONE, BAD_NEWS, USAGE, NO_ANSWER = 0, 1, 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Never a traceback for what a user can cause."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is no UTF-8
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        code = int(arguments.command(arguments))
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
    except BrokenPipeError:  # `reconciler plan | head`: nobody reads on, nor need be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:  # what this machine will not do: a full disk, a file of another user
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail(_in_words(error), BAD_NEWS)


def _in_words(error: OSError) -> str:
    why = error.strerror or str(error)
    return f"{error.filename}: {why}" if error.filename is not None else why


def _fail(error: Exception | str, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


def build_parser() -> argparse.ArgumentParser:
    """All commands and flags; names follow crictl and kubelet where they have one."""
    common = _common_flags()
    parser = argparse.ArgumentParser(
        prog="reconciler",
        description="Keeps a node's image filesystem between two watermarks, and never removes "
        "the wrong image.",
        epilog=examples.OVERVIEW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"reconciler {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, function: Callable[[argparse.Namespace], int], text: str, **more: Any
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=examples.shown(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **more,
        )
        made.set_defaults(command=function)
        return made

    add("run", _run, "the daemon", parents=[common])
    prune = add("prune", _prune, "one pass of removal, then exit", parents=[common])
    prune.add_argument("--to", type=flags.mark, metavar="60%|40Gi", help="instead of the low mark")
    prune.add_argument("--all-unused", action="store_true", help="ignore marks, not protections")
    _add_minimum_age(prune)
    plan = add("plan", _plan, "what would go now, and why all else stays", parents=[common])
    _add_minimum_age(plan)
    _add_output(plan, wide=True)
    explain = add("explain", _explain, "every verdict on one image", parents=[common])
    explain.add_argument("image", metavar="IMAGE", help="name, tag, digest, id or id prefix")
    _add_output(explain, wide=True)
    check = add("check", _check, "validate policy files")
    check.add_argument("files", metavar="FILE", nargs="+", type=Path)
    _add_endpoints(check)
    diff = add("diff", _diff, "what an edited policy would change on this node", parents=[common])
    diff.add_argument("file", metavar="FILE", type=Path)
    _add_output(diff)
    status = add("status", _status, "what the daemon does right now", parents=[common])
    _add_output(status)
    top = add("top", _top, "the daemon, live: usage, next in line, last removals", parents=[common])
    top.add_argument(
        "--every", type=flags.duration, default=1.0, metavar="1s", help="between looks"
    )
    top.add_argument("--count", type=int, metavar="N", help="looks (endless; once in a pipe)")
    history = add("history", _history, "what was removed, when and why", parents=[common])
    history.add_argument("--since", type=flags.duration, metavar="1h", help="only of so long ago")
    history.add_argument("--image", default="", metavar="TEXT", help="part of a name, or an id")
    history.add_argument("--count", type=int, default=100, metavar="N", help="at the most (100)")
    _add_output(history)
    images = add("images", _images, "every image here and its verdict", parents=[common])
    images.add_argument(
        "--sort", choices=("name", "size", "used", "seen", "uses", "verdict"), default="name"
    )
    images.add_argument("--filter", default="", metavar="TEXT", help="part of a name, or an id")
    images.add_argument("--verdict", choices=("kept", "candidate"), help="only these")
    _add_output(images, wide=True)
    record = add("record", _record, "this node's starts and pulls, to a file", parents=[common])
    record.add_argument("--out", type=Path, required=True, metavar="FILE")
    record.add_argument("--anonymize", action="store_true", help="no names, ids or times of day")
    _add_simulate(
        add(
            "simulate",
            _simulate,
            "what if: other marks, another disk, no reconciler",
            parents=[common],
        )
    )
    demo = add("demo", _demo, "the real daemon on a fake runtime with a simulated node")
    demo.add_argument("--seconds", type=float, default=60.0, help="how long to run (60)")
    demo.add_argument("--seed", type=int, default=1, help="which life the node lives (1)")
    demo.add_argument("--plain", action="store_true", help="lines of text, no live screen")
    completion = add("completion", _completion, "a script that lets a shell complete all this")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    return parser


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    past = parser.add_mutually_exclusive_group()
    past.add_argument("--from", dest="source", type=Path, metavar="FILE", help="of `record`")
    past.add_argument("--workload", metavar="NAME", help="one made up; docs/eviction.md lists them")
    parser.add_argument("--seed", type=int, default=1, help="which of the made-up ones (1)")
    parser.add_argument("--traces", type=Path, metavar="DIR", help="for azure and prow")
    parser.add_argument(
        "--watermarks",
        type=flags.marks,
        metavar="auto,90/88",
        help="auto, or high/low (auto, and the policy's own)",
    )
    parser.add_argument(
        "--order",
        type=flags.orders,
        default="keepscore",
        metavar="keepscore,lru,kubelet",
        help="who goes first (keepscore, which is the daemon's)",
    )
    parser.add_argument("--disk", type=flags.size, metavar="100Gi", help="of the image filesystem")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the comparison")
    _add_output(parser)


def _common_flags() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("common flags")
    _add_endpoints(group)
    group.add_argument("--policy", type=Path, metavar="PATH", help="file or directory")
    group.add_argument("--state-dir", type=Path, metavar="DIR")
    group.add_argument("--listen", metavar="HOST:PORT")
    group.add_argument("--events", choices=("auto", "off"))
    group.add_argument("--dry-run", action="store_true", help="decide and report only")
    group.add_argument("--log-format", choices=("text", "json"))
    group.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    group.add_argument("--kubelet-config", type=Path, metavar="PATH", help="kubelet's --config")
    group.add_argument(
        "--kubelet-config-dir", type=Path, metavar="DIR", help="kubelet's --config-dir"
    )
    group.add_argument(
        "--pods",
        choices=("auto", "off", "socket", "kubelet", "api"),
        help="who tells which images the pods bound to this node need: kubelet's Pods API, "
        "kubelet's /pods, the API server; auto: the first of them that answers",
    )
    group.add_argument("--pods-socket", type=Path, metavar="PATH", help="of kubelet's Pods API")
    group.add_argument("--kubelet-endpoint", metavar="HOST[:PORT]", help="for --pods kubelet")
    group.add_argument("--kubelet-ca", type=Path, metavar="FILE", help="if not the cluster's")
    group.add_argument(
        "--api",
        choices=("loopback", "token"),
        help="where the page and /api/v1 are answered: on loopback alone, or on every address of "
        "--listen to who brings the token",
    )
    group.add_argument("--token-file", type=Path, metavar="PATH", help="allows commands over HTTP")
    group.add_argument("--node-name", metavar="NAME", help="this node, as Kubernetes calls it")
    return common


def _add_endpoints(group: argparse._ActionsContainer) -> None:
    group.add_argument("-r", "--runtime-endpoint", metavar="unix:///PATH")
    group.add_argument("--image-endpoint", metavar="unix:///PATH")


def _add_output(parser: argparse.ArgumentParser, *, wide: bool = False) -> None:
    choices = ("table", "wide", "json") if wide else ("table", "json")
    parser.add_argument("-o", "--output", choices=choices, default="table")


def _add_minimum_age(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--minimum-age", type=flags.duration, metavar="2m", help="instead of the policy's, once"
    )


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
    from ..http.face import ListenFailed
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
        return _not_started(_in_words(error), BAD_NEWS)


def _not_started(error: Exception | str, code: int) -> int:
    """What ends the daemon is a line of its log: whoever reads that reads nothing else."""
    from ..telemetry.logs import get_logger

    get_logger().error("not-started", detail=str(error))
    return code


def _prune(arguments: argparse.Namespace) -> int:
    from ..commands.prune import Wish, prune

    wish = Wish(arguments.to, arguments.all_unused, arguments.minimum_age)
    return _await(prune(_settings(arguments), wish))


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
    except SettingsError as error:  # of a node that the file need not be for
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

    print(script_of(arguments.shell, build_parser()), end="")
    return DONE
