"""Swagger UI as somebody explores the API with it, without anything from elsewhere."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.test_answers import KEYS, ask_for_keys
from tests.conftest import System


def opened(page: Page, operation: str) -> Locator:
    """Open an operation, ready to be tried; return its block."""
    block = page.locator(f"[id$='-{operation}']")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    return block


def answer(block: Locator) -> Locator:
    block.get_by_role("button", name="Execute").click()
    return block.locator(".live-responses-table .response").first


def test_the_examples_submit_a_task_and_find_it(system: System, page: Page) -> None:
    page.goto("/docs")

    submitted = answer(opened(page, "submitTask"))

    expect(submitted.locator(".response-col_status")).to_contain_text("202")
    told = re.search('"task_id": "([0-9a-f-]{36})"', submitted.inner_text())
    assert told
    block = opened(page, "getTask")
    block.get_by_placeholder("task_id").fill(told[1])
    shown = answer(block)
    expect(shown.locator(".response-col_status")).to_contain_text("200")
    expect(shown).to_contain_text(told[1])


def test_authorize_takes_a_key_and_keeps_it(system: System, page: Page) -> None:
    ask_for_keys(system)
    page.goto("/docs")
    expect(answer(opened(page, "getStats")).locator(".response-col_status")).to_contain_text("401")

    page.locator(".scheme-container").get_by_role("button", name="Authorize").click()
    bearer = page.locator(".auth-container").filter(has_text="bearer").first
    bearer.get_by_role("textbox").fill(KEYS["read"])
    bearer.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").first.click()
    # As in another tab: not with what this one has open.
    page.goto("about:blank")
    page.goto("/docs")

    expect(answer(opened(page, "getStats")).locator(".response-col_status")).to_contain_text("200")
