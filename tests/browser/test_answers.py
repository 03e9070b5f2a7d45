"""What the API may answer, and what the page makes of it; keys among it."""

import json
import re
from hashlib import sha256

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.conftest import System

#: A key of each scope.
KEYS = {scope: f"tq_{scope}-{'k' * 32}" for scope in ("read", "submit", "admin")}


def refuse(route: Route, status: int, detail: str, **headers: str) -> None:
    body = {"type": "about:blank", "status": status, "detail": detail, "request_id": "r-1"}
    route.fulfill(
        status=status,
        body=json.dumps(body),
        headers={"Content-Type": "application/problem+json", **headers},
    )


def answering(
    context: BrowserContext, path: re.Pattern[str], status: int, detail: str, **headers: str
) -> None:
    context.route(path, lambda route: refuse(route, status, detail, **headers))


def ask_for_keys(system: System) -> None:
    """Start the API anew, with keys. What a test submits by itself it submits before."""
    entries = [f"{name}:{name}:{sha256(key.encode()).hexdigest()}" for name, key in KEYS.items()]
    system.stack.services[0].stop()
    system.stack.start_api(API_KEYS=",".join(entries))


def test_a_key_is_asked_for_and_kept_for_the_tab_alone(
    system: System, page: Page, context: BrowserContext
) -> None:
    system.client.submit("Behind a key")
    ask_for_keys(system)
    page.goto("/?view=tasks")

    asks = page.get_by_role("dialog")
    expect(asks.get_by_role("heading", name="The API asks for a key")).to_be_visible()
    asks.get_by_label("API key").fill("tq_wrong")
    page.keyboard.press("Enter")
    expect(asks.get_by_role("heading", name="This key is not accepted")).to_be_visible()
    asks.get_by_label("API key").fill(KEYS["admin"])
    page.keyboard.press("Enter")

    expect(page.locator("tbody")).to_contain_text("Behind a key")
    expect(page.locator("#live")).to_have_text("Live")
    assert KEYS["admin"] not in page.url
    assert page.evaluate("Object.values(localStorage).join()") == ""
    page.reload()
    expect(page.locator("tbody")).to_contain_text("Behind a key")
    other = context.new_page()
    other.goto("/?view=tasks")
    expect(other.get_by_role("heading", name="The API asks for a key")).to_be_visible()

    page.get_by_role("button", name="Forget key").click()
    expect(page.get_by_role("heading", name="The API asks for a key")).to_be_visible()


@pytest.mark.parametrize(("scope", "may_submit"), [("read", False), ("submit", True)])
def test_what_the_key_may_not_do_is_switched_off_and_says_why(
    system: System, page: Page, scope: str, may_submit: bool
) -> None:
    task_id = system.client.post(delay_seconds=600).json()["task_id"]
    ask_for_keys(system)
    page.goto(f"/?view=task&id={task_id}")
    page.get_by_label("API key").fill(KEYS[scope])
    page.keyboard.press("Enter")

    cancel = page.get_by_role("button", name="Cancel task")
    expect(cancel).to_be_disabled()
    expect(cancel).to_have_attribute("title", re.compile("this needs admin"))
    page.get_by_role("link", name="Submit").click()
    expect(page.get_by_role("button", name="Submit task")).to_be_enabled(enabled=may_submit)


def test_a_refusal_is_told_with_what_to_do_and_goes_when_it_is_over(
    system: System, page: Page, context: BrowserContext
) -> None:
    answers = {
        503: "The database is away; send the same request again.",
        429: "Too many requests of this key.",
        500: "Something broke on our side.",
    }
    for status, detail in answers.items():
        path = re.compile("/api/stats")
        headers = {"Retry-After": "1"} if status != 500 else {}
        answering(context, path, status, detail, **headers)
        page.goto("/")

        notice = page.locator(".notice", has_text=f"({status})")
        expect(notice).to_contain_text(detail)
        expect(notice).to_contain_text("request_id=r-1" if status == 500 else "after 1 s")

        context.unroute(path)
        expect(notice).to_have_count(0)


def test_an_answer_that_is_long_in_coming_is_told(
    system: System, page: Page, context: BrowserContext
) -> None:
    held: list[Route] = []
    context.route(re.compile("/api/stats"), lambda route: held.append(route))

    page.goto("/")

    expect(page.locator(".notice")).to_contain_text("The API is slow.")
    held[0].fallback()
    expect(page.locator(".tile strong").first).to_have_text("0")
