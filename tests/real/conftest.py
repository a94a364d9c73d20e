"""Real nodes for the stories: one containerd of each major, brought up once, cleaned in between."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ON_CONTAINERD

from .containerd import SUITES, Containerd
from .daemon import Daemon
from .debs import install_tools, what_is_missing
from .images import Registry

MISSING = what_is_missing()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is real; where it is not available, all of it is skipped for one reason."""
    here = Path(__file__).parent
    for item in items:
        if here not in item.path.parents:
            continue
        item.add_marker(pytest.mark.real)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(240))
        if MISSING is not None:
            item.add_marker(pytest.mark.skip(reason=MISSING))
        if "running" in getattr(item, "fixturenames", ()):
            item.user_properties.append(ON_CONTAINERD)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry on loopback, with a pause image in it."""
    install_tools()
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def containerd(registry: Registry) -> Iterator[Callable[[str], Containerd]]:
    """Returns the one containerd of a major, for all stories of this process."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(lambda major: stack.enter_context(Containerd(major, registry)))


@pytest.fixture(params=list(SUITES))
def running(request: pytest.FixtureRequest, containerd: Callable[[str], Containerd]) -> Containerd:
    """One of each major."""
    return containerd(request.param)


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
