"""Real nodes for the stories: one containerd of each major, brought up once, cleaned in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .containerd import SUITES, Containerd
from .daemon import Daemon
from .debs import install_tools, what_is_missing
from .images import Registry

MISSING = what_is_missing()
ON_CONTAINERD: set[str] = set()  # the ids of the selected tests that need one


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is real; where it can not be had, all of it is skipped for one reason."""
    here = Path(__file__).parent
    for item in items:
        if here not in item.path.parents:
            continue
        item.add_marker(pytest.mark.real)
        item.add_marker(pytest.mark.timeout(240))
        if MISSING is not None:
            item.add_marker(pytest.mark.skip(reason=MISSING))
        if "running" in getattr(item, "fixturenames", ()):
            ON_CONTAINERD.add(item.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that `.ci/run` looks for: how many stories ran on a real containerd, or why none."""
    reports = [
        report
        for outcome in ("passed", "failed", "skipped")
        for report in terminalreporter.getreports(outcome)
        if report.nodeid in ON_CONTAINERD
    ]
    if reports:
        ran = {report.nodeid for report in reports if report.when == "call"}
        why = f"; {MISSING}" if MISSING else ""
        terminalreporter.write_line(f"real containerd tests: {len(ran)} ran{why}")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry on loopback, with a pause image in it."""
    install_tools()
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session", params=list(SUITES))
def running(request: pytest.FixtureRequest, registry: Registry) -> Iterator[Containerd]:
    """One containerd for all stories of its major."""
    with Containerd(request.param, registry) as node:
        yield node


@pytest.fixture
def node(running: Containerd) -> Iterator[Containerd]:
    """The same containerd, empty before every story."""
    running.clean()
    yield running
    running.clean()


@pytest.fixture
def daemon(node: Containerd, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon for the node; the story starts it."""
    made = Daemon(node.endpoint, tmp_path / "daemon")
    yield made
    if made.running:
        made.stop()
