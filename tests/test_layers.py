"""Who imports whom, read from the source and, for the daemon, from a process of its own.

cli, __main__          read the flags, import the chosen command only
commands               one module for each command
app                    puts the daemon together
cri, sources, pods, engine, http, embedded      rooms that never import one another
ledger, lock, logs, metrics, policy, ...  single tools; what is new beside them counts as one
domain, aiokit         domain: the standard library only
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import reconciler

ROOT = Path(reconciler.__file__).parent
FLOORS = (
    {"domain", "aiokit", "__init__"},
    set[str](),  # the tools
    {"cri", "sources", "pods", "engine", "http", "embedded"},
    {"app"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
# Every third-party library that only some rooms, or modules of a room, may touch.
LIBRARIES = {
    "grpc": {"cri", "embedded", "pods.socket"},
    "google": {"cri", "embedded", "pods.translate"},
    "httpcore": {"pods.https"},
    "watchfiles": {"sources"},
    "yaml": {"policy", "kubelet", "crictl"},
    "starlette": {"app", "http"},
    "uvicorn": {"http"},
    "prometheus_client": {"http", "metrics"},
    "rich": {"commands"},
    "sqlite3": {"database", "history", "ledger", "ledger_file", "ledger_log"},
    "argparse": {"cli", "completion", "flags"},
}
# Bottom-up: a module of the domain imports only those before it.
DOMAIN = (
    "slices",
    "words",
    "inventory",
    "globs",
    "legal",
    "reference",
    "names",
    "origin",
    "pods",
    "policy",
    "runtime",
    "ledger",
    "joining",
    "facts",
    "graph",
    "awaited",
    "templates",
    "starting",
    "lookup",
    "watermark",
    "exclusion",
    "importance",
    "demand",
    "streams",
    "keepscore",
    "memory",
    "system",
    "unanswered",
    "state",
    "removals",
    "missing",
    "noting",
    "absorbing",
    "doubts",
    "scene",
    "unmatched",
    "protection",
    "account",
    "hold",
    "decision",
)
NOT_FOR_THE_DAEMON = (
    "rich",
    "httpcore",  # but for --pods kubelet and api (tests/pods/test_watch.py)
    "reconciler.embedded",
    "reconciler.simulation",
    "reconciler.commands",
    "reconciler.cli",
)


@functools.cache
def sources() -> tuple[tuple[str, Path], ...]:
    """Every module with its dotted name below the package; generated code left out."""
    return tuple(
        (".".join(path.relative_to(ROOT).with_suffix("").parts), path)
        for path in sorted(ROOT.rglob("*.py"))
        if "_pb" not in path.parts
    )


@functools.cache
def imported(name: str, path: Path) -> tuple[tuple[int, str], ...]:
    """What a module imports anywhere in it, with the line; our own start with `reconciler.`."""
    return tuple(_imported(name, path))


def _imported(name: str, path: Path) -> Iterator[tuple[int, str]]:
    package = ["reconciler", *name.split(".")][:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module in {"reconciler", "reconciler.domain"}:
                for alias in node.names:
                    yield node.lineno, f"{module}.{alias.name}"
            else:
                yield node.lineno, module


def own(module: str) -> str | None:
    """The room a module of ours belongs to; None for anybody else's."""
    head, _, rest = module.partition(".")
    if head != "reconciler":
        return None
    room = rest.partition(".")[0]
    known = (ROOT / room).is_dir() or (ROOT / f"{room}.py").is_file()
    return room if room and known else "__init__"


def floor(room: str) -> int:
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms), 1)


def test_the_domain_imports_the_standard_library_only() -> None:
    """A decision that could reach a file or the network is not to be trusted."""
    wrong = [
        f"{path}:{line} imports {module}"
        for name, path in sources()
        if name.startswith("domain.")
        for line, module in imported(name, path)
        if own(module) not in {None, "domain"}
        or (own(module) is None and module.partition(".")[0] not in sys.stdlib_module_names)
    ]
    assert not wrong


def test_the_domain_has_no_clock_no_logger_and_no_files() -> None:
    """Time comes in as an argument, and so does everything else."""
    never = {"asyncio", "logging", "os", "pathlib", "random", "socket", "sqlite3", "time"}
    wrong = [
        f"{path}:{line} imports {module}"
        for name, path in sources()
        if name.startswith("domain.")
        for line, module in imported(name, path)
        if module.partition(".")[0] in never
    ]
    assert not wrong


def test_the_domain_is_built_bottom_up() -> None:
    """A rule that reached up could make a circle; new modules stand where their imports allow."""
    wrong = []
    for name, path in sources():
        room, _, module = name.partition(".")
        if room != "domain" or module not in DOMAIN:
            continue
        for line, other in imported(name, path):
            below = other.removeprefix("reconciler.domain.")
            if below in DOMAIN and DOMAIN.index(below) >= DOMAIN.index(module):
                wrong.append(f"{path}:{line} {module} imports {below}")
    assert not wrong


def test_no_room_imports_another_or_one_above() -> None:
    """The rooms know each other through the domain's values and the mailbox alone."""
    wrong = []
    for name, path in sources():
        room = name.partition(".")[0]
        for line, module in imported(name, path):
            other = own(module)
            if other is None or other in {room, "__init__"}:
                continue
            same_floor = floor(other) == floor(room) != 1
            if floor(other) > floor(room) or same_floor:
                wrong.append(f"{path}:{line} {room} imports {other}")
    assert not wrong


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_touched_in_its_rooms_only(library: str) -> None:
    """gRPC is spoken in one room (and in the embedded runtime's), files are watched in one, ..."""
    wrong = [
        f"{path}:{line} imports {module}"
        for name, path in sources()
        for line, module in imported(name, path)
        if module.partition(".")[0] == library
        and not {name, name.partition(".")[0]} & LIBRARIES[library]
    ]
    assert not wrong


def test_the_daemon_loads_nothing_that_only_commands_need() -> None:
    """What prints tables or simulates a node would sit in every node's memory."""
    text = "import sys, reconciler.app; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = done.stdout.split()
    assert "reconciler.engine.reconcile" in loaded
    assert not [m for m in loaded for n in NOT_FOR_THE_DAEMON if m == n or m.startswith(f"{n}.")]


def test_reading_the_flags_loads_no_command() -> None:
    """`reconciler --help` and a typo answer at once."""
    text = "import sys, reconciler.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=30
    )
    assert not {"grpc", "rich", "yaml", "starlette", "structlog", "asyncio"} & set(
        done.stdout.split()
    )
