"""What the API may answer, and what the page makes of it; keys among it."""

import json
import re

from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.conftest import System

KEYS = {"reader-key": "read", "admin-key": "admin"}


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


def guard(context: BrowserContext, sent: list[str]) -> None:
    """Stand before the API as its keys do: 401 without a good one, 403 without the scope."""

    def look(route: Route) -> None:
        key = route.request.headers.get("authorization", "")
        sent.append(key)
        scope = KEYS.get(key.removeprefix("Bearer "))
        if scope is None:
            said = {"WWW-Authenticate": "Bearer"}
            refuse(route, 401, "This needs an API key.", **said)
        elif scope == "read" and route.request.method != "GET":
            refuse(route, 403, "The key 'ann' has the scope read; this needs submit.")
        else:
            route.fallback()

    context.route(re.compile("/api/"), look)


def test_a_key_is_asked_for_and_kept_for_the_tab_alone(
    system: System, page: Page, context: BrowserContext
) -> None:
    sent: list[str] = []
    guard(context, sent)
    system.client.submit("Behind a key")
    page.goto("/?view=tasks")

    asks = page.get_by_role("dialog")
    expect(asks.get_by_role("heading", name="The API asks for a key")).to_be_visible()
    asks.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(asks.get_by_role("heading", name="This key is not accepted")).to_be_visible()
    asks.get_by_label("API key").fill("admin-key")
    page.keyboard.press("Enter")

    expect(page.locator("tbody")).to_contain_text("Behind a key")
    expect(page.locator("#live")).to_have_text("Live")
    assert "admin-key" not in page.url
    assert page.evaluate("Object.values(localStorage).join()") == ""
    page.reload()
    expect(page.locator("tbody")).to_contain_text("Behind a key")
    other = context.new_page()
    other.goto("/?view=tasks")
    expect(other.get_by_role("heading", name="The API asks for a key")).to_be_visible()

    page.get_by_role("button", name="Forget key").click()
    expect(page.get_by_role("heading", name="The API asks for a key")).to_be_visible()


def test_what_the_key_may_not_do_is_switched_off_and_says_why(
    system: System, page: Page, context: BrowserContext
) -> None:
    guard(context, [])
    task_id = system.client.post(delay_seconds=600).json()["task_id"]
    page.goto(f"/?view=task&id={task_id}")
    page.get_by_label("API key").fill("reader-key")
    page.keyboard.press("Enter")

    cancel = page.get_by_role("button", name="Cancel task")
    expect(cancel).to_be_disabled()
    expect(cancel).to_have_attribute("title", re.compile("this needs submit"))
    page.get_by_role("link", name="Submit").click()
    expect(page.get_by_role("button", name="Submit task")).to_be_disabled()
    assert system.client.get(task_id)["status"] == "PENDING"


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
