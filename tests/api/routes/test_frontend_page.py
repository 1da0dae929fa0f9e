"""examples/frontend.html, driven in Chromium against a running backend: what docs/frontend.md promises."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.conftest import COFFEE, Backend, StartBackend

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "examples" / "frontend.html").as_uri()
CHROMIUM = shutil.which("chromium") or ""
WAIT_MS = 60_000

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (apt-get install chromium)")


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a new browser; what it throws or logs as an error fails the test."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 900, "height": 1200})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page
        await browser.close()
        assert problems == []


async def opened(page: Page, backend: Backend, **more: str) -> None:
    api = str(backend.client.base_url).rstrip("/")
    await page.goto(f"{PAGE}?{urlencode({'api': api, **more})}")
    await expect(page.locator("#balance")).to_have_text(re.compile(r"^\d+$"), timeout=WAIT_MS)


async def ordered(page: Page, brief: str = "on pale stone") -> None:
    await page.set_input_files("#photo", COFFEE)
    await page.fill("#brief", brief)
    await page.click("#create")


async def test_a_new_visitor_gets_a_pass_id_that_a_reload_keeps(page: Page, backend: Backend):
    await opened(page, backend)
    given = await page.text_content("#pass")
    assert given and given.startswith("pass:anon:")
    await page.reload()
    await expect(page.locator("#pass")).to_have_text(given)


async def test_a_photo_becomes_a_still_that_is_in_the_history(page: Page, backend: Backend, tmp_path: Path):
    await backend.grant(3)
    await opened(page, backend, **{"pass": backend.pass_id})
    await expect(page.locator("#balance")).to_have_text("3")
    await ordered(page)
    picture = page.locator("#result img")
    await expect(picture).to_be_visible(timeout=WAIT_MS)
    assert (
        await picture.evaluate("image => image.decode().then(() => image.naturalWidth)") >= 128
    )  # the backends of tests draw small pictures
    assert await page.locator("#log li").count() >= 5
    await expect(page.locator("#history img")).to_have_count(1)
    await expect(page.locator("#balance")).to_have_text("2")
    assert await page.text_content("#error") == ""
    await page.screenshot(path=tmp_path / "done.png", full_page=True)
    await page.reload()
    await expect(page.locator("#history img")).to_have_count(1)


async def test_no_credits_are_said_with_what_to_do(page: Page, backend: Backend, tmp_path: Path):
    await opened(page, backend)
    await ordered(page)
    await expect(page.locator("#error")).to_contain_text("safelight credits grant pass:anon:")
    await expect(page.locator("#create")).to_be_enabled()
    await page.screenshot(path=tmp_path / "no-credits.png", full_page=True)


async def test_a_failure_is_shown_and_its_credit_comes_back(page: Page, start: StartBackend, tmp_path: Path):
    backend = await start(local_fault="seedream_generate:rejected")
    await backend.grant(1)
    await opened(page, backend, **{"pass": backend.pass_id})
    await ordered(page)
    await expect(page.locator("#error")).not_to_be_empty(timeout=WAIT_MS)
    await expect(page.locator("#balance")).to_have_text("1")
    assert "Traceback" not in (await page.text_content("#error") or "")
    await page.screenshot(path=tmp_path / "failed.png", full_page=True)


async def test_a_cancelled_order_ends_without_a_result_and_is_refunded(page: Page, start: StartBackend):
    backend = await start(local_latency_seconds=30.0)
    await backend.grant(1)
    await opened(page, backend, **{"pass": backend.pass_id})
    await ordered(page)
    await page.click("#cancel", timeout=WAIT_MS)
    await expect(page.locator("#create")).to_be_enabled(timeout=WAIT_MS)
    await expect(page.locator("#balance")).to_have_text("1")
    assert await page.locator("#result img").count() == 0


def test_the_calls_of_the_documentation_are_those_of_the_page():
    shown, page = (ROOT / "docs" / "frontend.md").read_text(), (ROOT / "examples" / "frontend.html").read_text()
    for route in ("/api/v1/generations", "/stream-token", "/cancel", "/api/v1/me", "/me"):
        assert route in shown and route in page
    for event in re.findall(r'addEventListener\("(\w+)"', shown):
        assert f'addEventListener("{event}"' in page
