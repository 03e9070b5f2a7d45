"""A page of the dashboard; what it must never do fails any test."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect

from tests.conftest import System
from tests.local.browser import browser
from tests.local.servers import HOST

#: Milliseconds that an expectation may take to come true.
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these out where ./dev test found no browser; it tells so loudly."""
    if not os.environ.get("TEST_BROWSER"):
        here = Path(__file__).parent
        items[:] = [item for item in items if here not in item.path.parents]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """A browser for the tests of this folder: while it lives, its loop occupies this thread."""
    with browser() as launched:
        yield launched


@pytest.fixture
def context(chromium: Browser, system: System) -> Iterator[BrowserContext]:
    """A browser without a past, whose pages reach the system's machine and nothing else."""
    opened = chromium.new_context(
        base_url=system.stack.url, viewport={"width": 1280, "height": 800}, reduced_motion="reduce"
    )
    opened.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []

    def look(route: Route) -> None:
        if urlsplit(route.request.url).hostname == HOST:
            route.fallback()
        else:
            wrong.append(f"asked for {route.request.url}")
            route.abort()

    def listen(message: ConsoleMessage) -> None:
        # What the network answers is a test's own matter.
        if message.type == "error" and "Failed to load resource" not in message.text:
            wrong.append(message.text)

    opened.route("**/*", look)
    opened.on("console", listen)
    opened.on("weberror", lambda error: wrong.append(str(error.error)))
    opened.on("dialog", lambda dialog: wrong.append(f"a dialog says {dialog.message}"))
    yield opened
    opened.close()
    assert wrong == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
