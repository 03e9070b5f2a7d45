"""For everybody: without a mouse, without sight, in both themes, on a small screen."""

import importlib.resources
from typing import Any

from playwright.sync_api import BrowserContext, Page, expect

from tests.conftest import System

AXE = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
SERIOUS = ("serious", "critical")
VIEWS = ["overview", "tasks", "task", "failures", "workers", "submit"]


def fill(system: System) -> str:
    """Leave something in every status; return the id of a failed task."""
    system.start_worker(SHUTDOWN_GRACE_SECONDS="1")
    system.client.post(title="Later", delay_seconds=3600, priority="low")
    system.client.simulate(seconds=60)
    system.client.wait_for(system.client.simulate())
    flaky = system.client.run("sum", {"numbers": [], "fail": "later"}, max_attempts=5)
    system.client.wait_for(flaky, "PENDING")
    failed = system.client.run("sum", {"numbers": [], "fail": "permanent"})
    system.client.wait_for(failed, "FAILED")
    return failed


def show(page: Page, view: str, task_id: str) -> None:
    page.goto(f"/?view={view}&id={task_id}")
    expect(page.locator("main h1")).to_be_visible()
    filled = {"tasks": "tbody tr", "failures": "tbody tr", "task": ".timeline li"}
    expect(page.locator(filled.get(view, ".card, form")).first).to_be_visible()


def serious(page: Page) -> list[Any]:
    found: dict[str, Any] = page.evaluate(f"{AXE}; axe.run(document)")
    return [
        (issue["id"], [(node["target"], node.get("failureSummary")) for node in issue["nodes"]])
        for issue in found["violations"]
        if issue["impact"] in SERIOUS
    ]


def test_axe_finds_nothing_serious_in_any_view_and_theme(system: System, page: Page) -> None:
    task_id = fill(system)

    found = {}
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for view in VIEWS:
            show(page, view, task_id)
            found[theme, view] = serious(page)
        show(page, "tasks", task_id)
        page.get_by_label("Select all on this page").check()
        page.get_by_role("button", name="Retry", exact=True).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        found[theme, "dialog"] = serious(page)

    assert found == {key: [] for key in found}


def test_every_view_fits_a_small_screen(system: System, page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    task_id = fill(system)

    widths = {}
    for view in VIEWS:
        show(page, view, task_id)
        widths[view] = page.evaluate("document.documentElement.scrollWidth")

    assert widths == dict.fromkeys(VIEWS, 360)


def test_all_can_be_done_with_the_keyboard(system: System, page: Page) -> None:
    system.start_worker(SHUTDOWN_GRACE_SECONDS="1")
    page.goto("/")
    expect(page.locator("#live")).to_have_text("Live")

    tab_to(page, "Submit")
    page.keyboard.press("Enter")
    tab_to(page, "Title")
    page.keyboard.type("By keyboard")
    page.keyboard.press("Tab")
    page.keyboard.type("Without a mouse")
    for _ in range(4):
        page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type('{"simulate": {"seconds": 60}}')
    tab_to(page, "Submit task")
    page.keyboard.press("Enter")
    expect(page.locator(".task-state .badge")).to_have_text("Running")
    tab_to(page, "Cancel task")
    page.keyboard.press("Enter")
    expect(page.locator(".task-state .badge")).to_have_text("Cancelled")

    tab_to(page, "Tasks", back=True)
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    tab_to(page, "Select all on this page")
    page.keyboard.press("Space")
    tab_to(page, "Delete", back=True)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Delete 1 task")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="No task yet")).to_be_visible()


def tab_to(page: Page, name: str, back: bool = False) -> None:
    """Press Tab until the element of this name has the focus, and shows it."""
    for _ in range(40):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        focused = page.evaluate(
            """() => {
              const element = document.activeElement;
              const label = element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent;
              return [label ?? element.textContent, getComputedStyle(element).outlineStyle];
            }"""
        )
        if focused[0] == name:
            assert focused[1] != "none", f"{name} does not show that it has the focus"
            return
    raise AssertionError(f"{name} is not reached with the Tab key")


def test_the_theme_is_chosen_and_kept(system: System, page: Page, context: BrowserContext) -> None:
    page.goto("/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.get_by_role("button", name="Auto theme").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    other = context.new_page()
    other.goto("/?view=tasks")

    assert dark != light
    assert other.evaluate("getComputedStyle(document.body).backgroundColor") == dark
