"""The page as a person sees it: in a real browser, on a whole daemon."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.fake_runtime.images import layer
from tests.whole import Whole, whole

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, expect
else:

    def expect(locator: object) -> object:
        """Playwright's, loaded by the tests that run alone: it takes a third of a second."""
        from playwright.async_api import expect

        return expect(locator)


MIB = 1 << 20
WAIT = 20_000  # milliseconds


@contextlib.asynccontextmanager
async def opened(
    browser: Browser, node: Whole, dark: bool = False, width: int = 1280
) -> AsyncIterator[Page]:
    """The page in a window of its own. No other host may be contacted, and no script may
    fail."""
    context = await browser.new_context(
        color_scheme="dark" if dark else "light", viewport={"width": width, "height": 900}
    )
    page = await context.new_page()
    elsewhere: list[str] = []
    page.on(
        "request",
        lambda request: (
            elsewhere.append(request.url) if not request.url.startswith(node.address) else None
        ),
    )
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("console", lambda line: failed.append(line.text) if line.type == "error" else None)
    await page.goto(node.address)
    await expect(page.locator("#live")).to_contain_text("live", timeout=WAIT)
    yield page
    assert elsewhere == []
    assert failed == []
    await context.close()


def pull(node: Whole, name: str, size: int = 100 * MIB) -> str:
    """Pulls an image to the node; returns its id."""
    node.node.publish(name, [layer(name, size)])
    node.node.pull(name, node.daemon.reconciler.deps.clock())
    return next(key for key, one in node.node.images.items() if name in one.tags)


def run(node: Whole, name: str, pod: str) -> None:
    now = node.daemon.reconciler.deps.clock()
    sandbox = node.node.run_pod(pod, now)
    node.node.start(node.node.create(sandbox.id, name, now).id, now)


async def test_one_look_shows_usage_what_stays_and_what_goes_next(
    tmp_path: Path, browser: Browser
) -> None:
    """Usage with its marks, what keeps each image, who uses it, what is next."""
    async with whole(tmp_path) as node:
        pull(node, "reg.example/used:v1")
        run(node, "reg.example/used:v1", "web")
        pull(node, "reg.example/free:v1")
        pull(node, "reg.example/keep/me:v1")
        async with opened(browser, node) as page:
            disks, rows = page.locator("#disks"), page.locator("#rows")
            await expect(disks).to_contain_text("used, calm", timeout=WAIT)
            await expect(disks).to_contain_text("high 8 GiB")
            await expect(disks).to_contain_text("high mark given by the policy; kubelet")
            await expect(page.locator("#disks canvas")).to_be_visible(timeout=WAIT)
            await expect(page.locator("#next li").first).to_contain_text(
                "reg.example/free:v1 never used here, first seen", timeout=WAIT
            )
            used = rows.locator("tr", has_text="reg.example/used:v1")
            await expect(used).to_contain_text("in-use: container", timeout=WAIT)
            kept = rows.locator("tr", has_text="reg.example/keep/me:v1")
            await expect(kept).to_contain_text("the story's")
            await expect(page.locator("#graph")).to_contain_text("default/web main")
            await expect(page.locator("#graph")).to_contain_text("unprotected")


async def test_a_removal_appears_without_reloading(tmp_path: Path, browser: Browser) -> None:
    """The disk fills while the page is open: each removal appears, with the reason."""
    async with whole(tmp_path) as node, opened(browser, node) as page:
        await expect(page.locator("#gone")).to_contain_text("nothing", timeout=WAIT)
        for number in range(5):
            pull(node, f"reg.example/app{number}:v1", 700 * MIB)
        await expect(page.locator("#gone li.removed").first).to_contain_text("freed", timeout=WAIT)
        await expect(page.locator("#lines")).to_contain_text("crossed-high")


async def test_an_image_explains_itself_by_keyboard_alone(tmp_path: Path, browser: Browser) -> None:
    """Search, Enter on the image, read every verdict, Escape: no mouse."""
    async with whole(tmp_path) as node:
        pull(node, "reg.example/free:v1")
        pull(node, "reg.example/keep/me:v1")
        async with opened(browser, node) as page:
            await expect(page.locator("#rows tr")).to_have_count(2, timeout=WAIT)
            await page.locator("#text").focus()
            await page.keyboard.type("keep")
            await expect(page.locator("#rows tr")).to_have_count(1)
            await page.locator("#rows button").focus()
            await page.keyboard.press("Enter")
            detail = page.locator("#detail")
            await expect(detail).to_contain_text("excluded: holds", timeout=WAIT)
            await expect(detail).to_contain_text("policy.yaml:7:")
            await expect(detail).to_contain_text("the runtime does not report it pinned")
            await page.keyboard.press("Escape")
            await expect(detail).to_be_hidden()


async def test_untrusted_names_are_text_whatever_is_in_them(
    tmp_path: Path, browser: Browser
) -> None:
    """Markup, escape sequences, bidi marks and 64 KiB of a name: shown, cut, never run."""
    script = "reg.example/<img src=x onerror=alert(1)>:v1"
    bidi = "reg.example/abc\u202egnp:v1"
    long = "reg.example/" + "x" * 65536 + ":v1"
    async with whole(tmp_path) as node:
        for name in (script, bidi, long):
            node.node.import_image(name, [layer(name, 100 * MIB)])
        async with opened(browser, node) as page:
            asked: list[str] = []
            page.on("dialog", lambda dialog: asked.append(dialog.message))
            rows = page.locator("#rows")
            await expect(rows.locator("tr")).to_have_count(3, timeout=WAIT)
            await expect(rows).to_contain_text("<img src=x onerror=alert(1)>")
            await expect(rows).to_contain_text("\\u202e")
            assert await rows.locator("img").count() == 0
            text = await page.locator("body").inner_text()
            assert "\u202e" not in text
            assert max(map(len, text.splitlines())) < 4000
            assert asked == []


async def test_two_thousand_images_are_searched_and_drawn_at_once(
    tmp_path: Path, browser: Browser
) -> None:
    """A big node: the table shows a page of them, the search finds any, and the daemon's loop
    never stalls for it."""
    async with whole(tmp_path, capacity=1 << 50) as node:
        for number in range(2000):
            pull(node, f"reg.example/team{number % 40}/app{number}:v1", 2 * MIB)
        await node.until(lambda: len(node.daemon.state.graph.images) == 2000, 60)
        async with opened(browser, node) as page:
            await expect(page.locator("#count")).to_contain_text("2000 of 2000", timeout=WAIT)
            await expect(page.locator("#rows tr")).to_have_count(100)
            await page.locator("#text").fill("app1999")
            await expect(page.locator("#rows tr")).to_have_count(1, timeout=5000)
            await page.locator("#text").fill("")
            await page.locator("#heads button", has_text="size").click()
            await page.locator("#more").click()
            await expect(page.locator("#rows tr")).to_have_count(200, timeout=5000)


async def test_it_can_be_read_on_a_phone_and_in_the_dark(tmp_path: Path, browser: Browser) -> None:
    """360 pixels wide, nothing is cut off sideways; in dark mode the background is dark."""
    async with whole(tmp_path) as node:
        pull(node, "reg.example/" + "long-name/" * 12 + "app:v1")
        async with opened(browser, node, dark=True, width=360) as page:
            await expect(page.locator("#rows tr")).to_have_count(1, timeout=WAIT)
            width = await page.evaluate("document.documentElement.scrollWidth")
            background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert width <= 360
            assert max(int(part) for part in background[4:-1].split(",")) < 60


async def test_the_operator_pauses_and_resumes_with_the_token_alone(
    tmp_path: Path, browser: Browser
) -> None:
    """With the token removal is paused and resumed from the page, and the page says so."""
    async with whole(tmp_path, token="s3cret") as node, opened(browser, node) as page:
        await page.locator("#token").fill("s3cret")
        await page.locator("#pause").click()
        await expect(page.locator("#hold")).to_contain_text("paused", timeout=WAIT)
        assert node.daemon.state.operator.paused_at is not None
        await page.locator("#pause", has_text="Resume").click()
        await node.until(lambda: node.daemon.state.operator.paused_at is None)
