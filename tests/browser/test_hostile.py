"""Texts of tasks that want to be more than text."""

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import System

MARKUP = '<script>alert(1)</script><img src=x onerror="alert(2)"><svg onload=alert(3)><b id=evil>'
TITLES = {
    "markup": MARKUP,
    "attribute": "\"' onmouseover=alert(4) autofocus onfocus=alert(5) x='",
    "reversed": "invoice_\u202egpj.exe \u2066 end",
    "invisible": "\u200b\u200b\ufeff\u2060",
    "wide": "W" * 255,
    "emoji": "👩‍👩‍👧‍👦" * 20,
    "marks": "Z" + "\u0311\u0346\u0352" * 60,
    "arabic": "تقرير شهري 2026",
    "lines": "one\ntwo\r\nthree\ttab",
}
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


def big() -> dict[str, object]:
    """Nearly 64 KiB: wide, deep, long, and full of markup."""
    deep: object = MARKUP
    for _ in range(15):
        deep = {"deep": deep}
    return {
        MARKUP: MARKUP,
        "__proto__": {"polluted": True},
        "constructor": "\u202eabc",
        "deep": deep,
        "text": "A" * 20_000,
        "list": [{"n": n, "x": "\u200b"} for n in range(1200)],
    }


def fits(page: Page) -> None:
    """Nothing makes the page wider than the window."""
    expect(page.locator("main h1")).to_be_visible()
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_it_is_shown_as_text_in_every_view(
    system: System, page: Page, size: dict[str, int]
) -> None:
    system.start_worker(SHUTDOWN_GRACE_SECONDS="1")
    error = {"simulate": {"seconds": 0, "fail_attempts": 9, "error": MARKUP}}
    for title in TITLES.values():
        system.client.post(title=title, description=MARKUP + title, delay_seconds=3600)
    whole = {**big(), **error}
    failed = system.client.post(title=MARKUP, metadata=whole, max_attempts=1).json()["task_id"]
    system.client.wait_for(failed, "FAILED")
    running = {"simulate": {"seconds": 60}}
    system.client.wait_for(
        system.client.post(title=MARKUP, metadata=running).json()["task_id"], "PROCESSING"
    )
    page.set_viewport_size(size)  # type: ignore[arg-type]

    page.goto("/?view=tasks")
    expect(page.locator("tbody tr")).to_have_count(len(TITLES) + 2)
    fits(page)
    expect(page.locator("tbody")).to_contain_text(MARKUP)
    expect(page.locator("tbody")).to_contain_text("invoice_U+202Egpj.exe")
    expect(page.locator("tbody")).to_contain_text("U+200BU+200BU+FEFFU+2060")
    expect(page.locator("tbody")).to_contain_text(TITLES["emoji"])
    heights = page.locator("tbody tr").evaluate_all("rows => rows.map(row => row.offsetHeight)")
    assert max(heights) <= 64

    page.goto(f"/?view=task&id={failed}")
    expect(page.locator("h1")).to_have_text(MARKUP)
    expect(page.locator(".timeline .error")).to_contain_text(MARKUP)
    payload = page.get_by_role("region", name="Payload")
    payload.get_by_text("list: [ 1200 ]").click()
    expect(payload).to_contain_text("1100 more")
    expect(payload.get_by_text("all 20002 characters")).to_be_visible()
    fits(page)

    for view in ("overview", "workers", "failures"):
        page.goto(f"/?view={view}")
        fits(page)
    page.goto(f"/?view=submit&from={failed}")
    expect(page.get_by_label("Title")).to_have_value(MARKUP)
    fits(page)
    page.goto(f"/?view={MARKUP}&q={MARKUP}&id={MARKUP}")
    expect(page.get_by_role("heading", name="There is no such view")).to_be_visible()
    assert page.locator("main script, main img, #evil").count() == 0
    assert page.evaluate("({}).polluted") is None
