"""Takes the README's picture of the page (`make page-picture`): a whole daemon on a simulated node,
looked at by a real Chromium after half a minute; writes docs/page.png and docs/page-dark.png."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from pathlib import Path

import anyio
from playwright.async_api import async_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from reconciler.fake_runtime.life import Life  # noqa: E402 - the path comes first
from tests.whole import POLICY, whole  # noqa: E402

NODE = Path("/run/node")
SECONDS = 27.0
TICK = 0.5


async def main() -> None:
    """Lives, looks, saves."""
    policy = POLICY.replace("reg.example/keep/**", "registry.example.com/base/**")
    policy = policy.replace("minimumAge: 0s", "minimumAge: 2s").replace("low: 70%", "low: 74%")
    os.mkdir(NODE)  # a name that means something in the picture
    try:
        async with whole(NODE, policy.replace("the story's", "cold start budget")) as node:
            life = Life(node.node, 1)
            life.begin(time.time())
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                life.step(time.time())
                await anyio.sleep(TICK)
            await pictures(node.address)
    finally:
        shutil.rmtree(NODE)


async def pictures(address: str) -> None:
    """The page in both colour schemes."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for scheme, name in (("light", "page.png"), ("dark", "page-dark.png")):
            page = await chromium.new_page(
                color_scheme="dark" if scheme == "dark" else "light",
                viewport={"width": 1200, "height": 1400},
            )
            await page.goto(address)
            await page.locator("#disks canvas").wait_for(timeout=20_000)
            await page.wait_for_timeout(1500)
            await page.screenshot(path=str(HERE / name))
        await chromium.close()


asyncio.run(main())
