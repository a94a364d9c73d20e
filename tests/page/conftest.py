"""A real Chromium for the page, from Debian's packages; without it all tests here are skipped."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.real.debs import install_tools, what_is_missing

if TYPE_CHECKING:
    from playwright.async_api import Browser

MISSING = what_is_missing()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the browser."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.timeout(300))
            if MISSING is not None:
                item.add_marker(pytest.mark.skip(reason=MISSING))


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window."""
    from playwright.async_api import async_playwright  # large: only what drives a browser loads it

    install_tools({"chromium": "chromium"})
    path = shutil.which("chromium")
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        await started.close()
