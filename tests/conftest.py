"""For all tests."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from tests.real.debs import what_is_missing

# How long an example takes depends on the machine's other work, and is no failure of ours:
# benchmarks time things. Every test has a timeout all the same.
settings.register_profile("reconciler", deadline=None)
settings.load_profile("reconciler")

ON_CONTAINERD = ("on", "containerd")  # a property of a story's report, from any process
WAITING = {"acceptance", "commands"}  # folders of tests that wait for processes of their own


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Ends what a test did to the log's configuration with that test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True, scope="module")
def all_closed() -> Iterator[None]:
    """What a module's tests left open is an error of its last one. A database goes with the garbage
    only, and pytest-xdist does not hear of what comes at a process's end. Before 3.13 Python does
    not warn of one, and looking would take a tenth of a second for each module."""
    yield
    if sys.version_info >= (3, 13):
        gc.collect()


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children run without coverage: one that is watched for what it opens, or has to be done in
    time."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_PROCESS")]:
        monkeypatch.delenv(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First the ones that wait, so that others compute meanwhile; then the long ones, so that none
    is left alone at the end."""
    items.sort(key=lambda item: (not _waits(item), item.path.parent.name != "model"))


def _waits(item: pytest.Item) -> bool:
    """Whether a test spends its time with processes of its own, in real time."""
    return item.path.parent.name in WAITING or "real_time" in item.name


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that `.ci/run` looks for: how many stories ran on a real containerd, or why none."""
    stories = [
        report
        for outcome in ("passed", "failed", "skipped")
        for report in terminalreporter.getreports(outcome)
        if ON_CONTAINERD in report.user_properties
    ]
    if stories:
        ran = {report.nodeid for report in stories if report.when == "call"}
        missing = what_is_missing()
        why = f"; {missing}" if missing else ""
        terminalreporter.write_line(f"real containerd tests: {len(ran)} ran{why}")
