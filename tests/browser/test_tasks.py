"""The list: filters, words, pages, many at once."""

import re

from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.conftest import System


def rows(page: Page) -> list[str]:
    titles: list[str] = page.locator("tbody a.title").all_inner_texts()
    return titles


def later(count: int, title: str = "Task") -> list[dict[str, object]]:
    """Bodies of tasks that wait, the last one submitted first in the list."""
    common = {"description": "For a test", "delay_seconds": 3600}
    return [{"title": f"{title} {n}", **common} for n in range(count)]


def test_what_is_filtered_searched_and_paged_is_shared_by_its_address(
    system: System, page: Page, context: BrowserContext
) -> None:
    system.client.submit_batch(later(60, "Wanted") + later(20, "Other"))
    system.client.cancel(
        system.client.post(title="Wanted but not", delay_seconds=60).json()["task_id"]
    )
    page.goto("/?view=tasks")
    expect(page.locator("tbody tr")).to_have_count(50)

    page.get_by_role("button", name="Pending").click()
    page.get_by_label("Search by words").fill("wanted")
    expect(page.locator("tbody tr").first).to_contain_text("Wanted 59")
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(10)
    assert rows(page) == [f"Wanted {n}" for n in range(9, -1, -1)]

    other = context.new_page()
    other.goto(page.url)
    expect(other.locator("tbody tr")).to_have_count(10)
    assert rows(other) == rows(page)
    expect(other.get_by_role("button", name="Pending")).to_have_attribute("aria-pressed", "true")
    expect(other.get_by_label("Search by words")).to_have_value("wanted")

    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(50)


def test_an_id_in_the_search_box_finds_its_task(system: System, page: Page) -> None:
    system.client.submit_batch(later(3))
    task_id = system.client.post(title="This one", delay_seconds=60).json()["task_id"]
    page.goto("/?view=tasks")
    expect(page.locator("tbody tr")).to_have_count(4)

    page.keyboard.press("/")
    page.keyboard.type(task_id)

    expect(page.locator("tbody tr")).to_have_count(1)
    assert rows(page) == ["This one"]


def test_rows_follow_their_tasks_and_new_ones_come_in(system: System, page: Page) -> None:
    page.goto("/?view=tasks")
    expect(page.get_by_role("heading", name="No task yet")).to_be_visible()
    expect(page.get_by_label("Command")).to_contain_text("/api/tasks")

    system.client.simulate(seconds=0)
    expect(page.locator("tbody .badge")).to_have_text("Pending")
    system.start_worker()
    expect(page.locator("tbody .badge")).to_have_text("Completed")


def test_what_changes_while_the_page_is_read_is_not_lost_nor_all_that_is_shown(
    system: System, page: Page, context: BrowserContext
) -> None:
    system.client.post(title="Before", delay_seconds=60)
    held: list[Route] = []
    page.route(re.compile(r"/api/tasks\?"), lambda route: held.append(route))
    page.goto("/?view=tasks")
    expect(page.locator("#live")).to_have_text("Live")
    answer = held[0].fetch()

    other = context.new_page()
    other.goto("/?view=tasks")
    expect(other.locator("tbody tr")).to_have_count(1)
    system.client.post(title="Meanwhile", delay_seconds=60)
    expect(other.locator("tbody tr")).to_have_count(2)
    assert rows(page) == []
    held[0].fulfill(response=answer)

    expect(page.locator("tbody tr")).to_have_count(2)
    assert rows(page) == ["Meanwhile", "Before"]


def test_a_task_between_two_attempts_is_retrying_and_says_which_and_when(
    system: System, page: Page
) -> None:
    system.start_worker()
    task_id = system.client.run("sum", {"numbers": [], "fail": "later"}, max_attempts=5)
    page.goto("/?view=tasks")

    expect(page.locator("tbody .badge")).to_have_text("Retrying")
    expect(page.locator("tbody .note")).to_have_text(re.compile(r"^2/5 · in (59 min|1 h)"))
    assert system.client.get(task_id)["status"] == "PENDING"


def test_all_that_match_are_cancelled_after_their_number_was_named(
    system: System, page: Page
) -> None:
    system.client.submit_batch(later(70, "Unwanted") + later(5, "Kept"))
    page.goto("/?view=tasks&status=PENDING&q=unwanted")
    expect(page.locator("tbody tr")).to_have_count(50)

    page.get_by_label("Select all on this page").check()
    expect(page.get_by_text("50 tasks selected")).to_be_visible()
    page.get_by_label("all that match the filters").check()
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("heading", name="Cancel 70 tasks?")).to_be_visible()
    page.get_by_role("button", name="Cancel 70 tasks").click()

    expect(page.get_by_text("Cancelled 70 tasks.")).to_be_visible()
    assert system.client.look("stats")["by_status"]["PENDING"]["count"] == 5


def test_selected_rows_alone_are_deleted_and_the_dialog_can_be_left(
    system: System, page: Page
) -> None:
    system.client.submit_batch(later(4))
    page.goto("/?view=tasks")
    for n in (1, 3):
        page.locator("tbody tr").nth(n).get_by_role("checkbox").check()

    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("heading", name="Delete 2 tasks?")).to_be_visible()
    page.keyboard.press("Escape")
    assert len(system.client.look("tasks")["tasks"]) == 4
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete 2 tasks").click()

    expect(page.locator("tbody tr")).to_have_count(2)
    assert rows(page) == ["Task 3", "Task 1"]


def test_a_failed_group_is_retried_and_no_other(system: System, page: Page) -> None:
    worker = system.start_worker()
    run = system.client.run
    wanted = [run("sum", {"numbers": [], "fail": "error"}, max_attempts=1) for _ in range(3)]
    others = [run("sum", {"numbers": [], "fail": "permanent"}, title="Other") for _ in range(2)]
    for task_id in wanted + others:
        system.client.wait_for(task_id, "FAILED")
    worker.stop()
    page.goto("/?view=failures")

    group = page.locator("tbody tr").filter(has_text="ValueError")
    expect(group.locator("td").nth(2)).to_have_text("3")
    group.get_by_role("button", name="Retry").click()
    page.get_by_role("button", name="Retry 3 tasks").click()
    expect(page.get_by_text("Retried 3 tasks.")).to_be_visible()

    assert {system.client.get(task_id)["status"] for task_id in wanted} == {"PENDING"}
    assert {system.client.get(task_id)["status"] for task_id in others} == {"FAILED"}
    page.get_by_role("link", name="Permanent").click()
    expect(page.locator("tbody tr")).to_have_count(2)


def test_an_address_that_the_api_refuses_is_told_with_its_words(system: System, page: Page) -> None:
    page.goto("/?view=tasks&status=DONE&cursor=nonsense")

    expect(page.get_by_role("heading", name="The API does not take these filters")).to_be_visible()
    expect(page.locator("main")).to_contain_text("status.0")
    page.get_by_role("link", name="Clear the filters").click()
    expect(page.get_by_role("heading", name="No task yet")).to_be_visible()
