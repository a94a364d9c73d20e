"""Which module may import which, read from the source and, for the daemon, from a process of its
own. What is not named here is not allowed: a new room, and a library in a new room, are added on
purpose."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import reconciler
from tests.programs import output_of

ROOT = Path(reconciler.__file__).parent
# Each room, or module outside of the rooms, and those that it may import.
MAY_IMPORT: dict[str, set[str]] = {
    "domain": set(),
    "aiokit": set(),
    "sharing": set(),
    "regular_file": {"domain"},
    "policy": {"domain", "regular_file"},
    "host": {"domain", "regular_file", "policy"},
    "settings": {"host"},
    "store": {"domain", "regular_file", "host"},
    "report": {"domain", "store"},
    "cri": {"domain", "aiokit", "sharing", "host"},
    "sources": {"domain", "aiokit", "policy", "host"},
    "pods": {"domain", "aiokit", "sharing", "regular_file", "host", "settings"},
    "engine": {"domain", "aiokit"},
    "telemetry": {"domain", "store", "settings"},
    "http": {"domain", "aiokit", "regular_file", "store", "report", "telemetry"},
    "fake_runtime": {"domain"},
    "replay": {"domain", "store"},
    "assembly": {
        *("domain", "aiokit", "settings", "host", "store", "telemetry"),
        *("sources", "engine", "http"),
    },
    "app": {
        *("domain", "aiokit", "settings", "host", "store", "telemetry"),
        *("cri", "sources", "pods", "http", "assembly"),
    },
    "commands": {
        *("domain", "aiokit", "settings", "host", "store", "telemetry", "report", "policy"),
        *("cri", "sources", "pods", "engine", "http", "assembly", "app"),
        *("fake_runtime", "replay"),
    },
    "cli": {
        "domain",
        "settings",
        "host",
        "policy",
        "telemetry",
        "http",
        "replay",
        "app",
        "commands",
    },
    "__main__": {"cli"},
}
# Every third-party library, and the rooms or modules that may touch it.
LIBRARIES = {
    "grpc": {"cri", "fake_runtime", "pods.socket"},
    "google": {"cri", "fake_runtime", "pods.translate"},
    "anyio": {
        *("aiokit", "app", "cri", "engine", "fake_runtime", "http", "pods", "sources"),
        *("store.saving", "telemetry.node_events", "policy.in_subprocess", "commands"),
    },
    "httpcore": {"pods.https"},
    "watchfiles": {"sources"},
    "yaml": {"policy", "host.yaml_text"},
    "starlette": {"app", "http"},
    "uvicorn": {"http"},
    "prometheus_client": {"http", "telemetry"},
    "structlog": {"telemetry.logs"},
    "rich": {"commands"},
}
# Modules of the standard library that only some rooms may import.
STANDARD = {"sqlite3": {"store"}, "argparse": {"cli"}}
STDLIB = {*sys.stdlib_module_names, "__future__"}
NOT_FOR_THE_DAEMON = (
    "rich",
    "httpcore",  # but for --pods kubelet and api (tests/pods/test_watch.py)
    "reconciler.fake_runtime",
    "reconciler.replay",
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
            for alias in node.names:  # each may be a module or something in one
                full = f"{module}.{alias.name}"
                yield node.lineno, full if is_module(full) else module


def is_module(name: str) -> bool:
    """Whether a dotted name of ours is a module, and not something in one."""
    head, *below = name.split(".")
    path = ROOT.joinpath(*below)
    return head == "reconciler" and (path.is_dir() or path.with_suffix(".py").is_file())


def own(module: str) -> str | None:
    """The room that one of our modules belongs to; None for others."""
    head, _, below = module.partition(".")
    if head != "reconciler":
        return None
    room = below.partition(".")[0]
    known = (ROOT / room).is_dir() or (ROOT / f"{room}.py").is_file()
    return room if room and known else "__init__"


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


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Circles make what is loaded first matter, and nothing can be read by itself."""
    known = {f"reconciler.{name}".removesuffix(".__init__") for name, _ in sources()}
    graph = {
        f"reconciler.{name}".removesuffix(".__init__"): {
            other for _, other in imported(name, path) if other in known
        }
        for name, path in sources()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_every_room_imports_those_that_it_may() -> None:
    """The rooms know each other through the domain's values and the mailbox alone."""
    assert {name.partition(".")[0] for name, _ in sources()} - {"__init__"} == MAY_IMPORT.keys()
    wrong = []
    for name, path in sources():
        room = name.partition(".")[0]
        for line, module in imported(name, path):
            other = own(module)
            if other not in {None, room, "__init__", *MAY_IMPORT.get(room, ())}:
                wrong.append(f"{path}:{line} {room} imports {other}")
    assert not wrong


def test_protections_do_not_import_ranking() -> None:
    """A reader sees which code protects and which ranks."""
    wrong = [
        f"{path}:{line} imports {module}"
        for name, path in sources()
        if name.startswith("domain.protections")
        for line, module in imported(name, path)
        if module.startswith("reconciler.domain.ranking")
    ]
    assert not wrong


def test_a_library_is_touched_in_its_rooms_only() -> None:
    """gRPC is used in one room (and in the fake runtime's), files are watched in one, ..."""
    allowed = LIBRARIES | STANDARD
    wrong = [
        f"{path}:{line} imports {module}"
        for name, path in sources()
        for line, module in imported(name, path)
        if own(module) is None
        and ((library := module.partition(".")[0]) in allowed or library not in STDLIB)
        and not {name, name.partition(".")[0]} & allowed.get(library, set())
    ]
    assert not wrong


def test_the_document_on_modules_is_what_the_modules_say() -> None:
    """A list that is kept by hand lags behind, and sends its readers astray."""
    from . import modules  # which reads the rooms from here

    assert modules.FILE.read_text() == modules.document(), "run: python -m tests.modules"


def test_the_document_on_the_architecture_names_every_room() -> None:
    """And no other: a room that is gone sends its readers astray."""
    text = (ROOT.parent / "docs/architecture.md").read_text()
    table = text.partition("## Rooms")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([a-z_]+)", table, re.MULTILINE)
    assert sorted(named) == sorted(MAY_IMPORT.keys() - {"__main__"})


def test_the_daemon_loads_nothing_that_only_commands_need() -> None:
    """What prints tables or simulates a node would sit in every node's memory."""
    text = "import sys, reconciler.app; print(*sys.modules)"
    loaded = output_of([sys.executable, "-c", text]).split()
    assert "reconciler.engine.reconcile" in loaded
    assert not [m for m in loaded for n in NOT_FOR_THE_DAEMON if m == n or m.startswith(f"{n}.")]


def test_reading_the_flags_loads_no_command() -> None:
    """`reconciler --help` and a typo answer at once."""
    text = "import sys, reconciler.cli.main; print(*sys.modules)"
    loaded = set(output_of([sys.executable, "-c", text]).split())
    assert not {"grpc", "rich", "yaml", "starlette", "structlog", "asyncio"} & loaded
