"""The command line: every command with its flags and their help.

The standard library's argparse reads the flags, since the daemon reads them too and must stay
small. `calls.py` runs the commands.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import __version__
from . import examples, flags

Add = Callable[..., argparse.ArgumentParser]


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

    def add(name: str, text: str, **more: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=examples.shown(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **more,
        )
        made.set_defaults(command=name)
        return made

    _add_deciding(add, common)
    _add_looking(add, common)
    _add_trying(add, common)
    return parser


def _add_deciding(add: Add, common: argparse.ArgumentParser) -> None:
    """The daemon, and commands that decide or explain decisions."""
    add("run", "the daemon", parents=[common])
    prune = add("prune", "one pass of removal, then exit", parents=[common])
    prune.add_argument("--to", type=flags.mark, metavar="60%|40Gi", help="instead of the low mark")
    prune.add_argument("--all-unused", action="store_true", help="ignore marks, not protections")
    _add_minimum_age(prune)
    plan = add("plan", "what would go now, and why everything else stays", parents=[common])
    _add_minimum_age(plan)
    _add_output(plan, wide=True)
    explain = add("explain", "every verdict on one image", parents=[common])
    explain.add_argument("image", metavar="IMAGE", help="name, tag, digest, id or id prefix")
    _add_output(explain, wide=True)
    check = add("check", "validate policy files")
    check.add_argument("files", metavar="FILE", nargs="+", type=Path)
    _add_endpoints(check)
    diff = add("diff", "what an edited policy would change on this node", parents=[common])
    diff.add_argument("file", metavar="FILE", type=Path)
    _add_output(diff)


def _add_looking(add: Add, common: argparse.ArgumentParser) -> None:
    """Commands that show what is and was on the node."""
    status = add("status", "what the daemon does right now", parents=[common])
    _add_output(status)
    top = add("top", "the daemon, live: usage, next in line, last removals", parents=[common])
    top.add_argument(
        "--every", type=flags.interval, default=1.0, metavar="1s", help="between looks"
    )
    top.add_argument(
        "--count", type=flags.count, metavar="N", help="looks (endless; once in a pipe)"
    )
    history = add("history", "what was removed, when and why", parents=[common])
    history.add_argument("--since", type=flags.duration, metavar="1h", help="only this far back")
    history.add_argument("--image", default="", metavar="TEXT", help="part of a name, or an id")
    history.add_argument(
        "--count", type=flags.count, default=100, metavar="N", help="at most (100)"
    )
    _add_output(history)
    images = add("images", "every image here and its verdict", parents=[common])
    images.add_argument(
        "--sort", choices=("name", "size", "used", "seen", "uses", "verdict"), default="name"
    )
    images.add_argument("--filter", default="", metavar="TEXT", help="part of a name, or an id")
    images.add_argument("--verdict", choices=("kept", "candidate"), help="only these")
    _add_output(images, wide=True)


def _add_trying(add: Add, common: argparse.ArgumentParser) -> None:
    """Commands for trying things out, which need no node or only once."""
    record = add("record", "this node's starts and pulls, to a file", parents=[common])
    record.add_argument("--out", type=Path, required=True, metavar="FILE")
    record.add_argument("--anonymize", action="store_true", help="no names, ids or times of day")
    _add_simulate(
        add(
            "simulate",
            "what if: other marks, another disk, no reconciler",
            parents=[common],
        )
    )
    demo = add("demo", "the real daemon on a fake runtime with a simulated node")
    demo.add_argument("--seconds", type=flags.seconds, default=60.0, help="how long to run (60)")
    demo.add_argument("--seed", type=int, default=1, help="of the simulated node (1)")
    demo.add_argument("--plain", action="store_true", help="lines of text, no live screen")
    completion = add("completion", "a script that lets a shell complete all this")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    past = parser.add_mutually_exclusive_group()
    past.add_argument("--from", dest="source", type=Path, metavar="FILE", help="of `record`")
    past.add_argument(
        "--workload", metavar="NAME", help="a synthetic one; docs/eviction.md lists them"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the synthetic workload (1)")
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
        help="which images go first (keepscore, the daemon's own)",
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
        help="the source that reports the pods bound to this node: kubelet's Pods API, "
        "kubelet's /pods, the API server; auto: the first of them that answers",
    )
    group.add_argument("--pods-socket", type=Path, metavar="PATH", help="of kubelet's Pods API")
    group.add_argument("--kubelet-endpoint", metavar="HOST[:PORT]", help="for --pods kubelet")
    group.add_argument("--kubelet-ca", type=Path, metavar="FILE", help="if not the cluster's")
    group.add_argument(
        "--api",
        choices=("loopback", "token"),
        help="where the page and /api/v1 are answered: on loopback alone, or on every address of "
        "--listen with the token",
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
