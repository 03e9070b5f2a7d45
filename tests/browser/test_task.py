"""One task's life, as somebody at the page sees and rules it."""

import re

from playwright.sync_api import Page, expect

from tests.conftest import System
from tests.local.servers import wait_until
from tests.receiver import receiver
from tests.test_webhooks import start


def status(page: Page, word: str) -> None:
    expect(page.locator(".task-state .badge")).to_have_text(word)


def test_a_task_of_the_form_is_watched_until_it_is_completed(system: System, page: Page) -> None:
    page.goto("/?view=submit")
    page.get_by_label("Title").fill("By form")
    page.get_by_label("Description").fill("It's mine")
    page.get_by_label("Payload (JSON)").fill('{"simulate": {"seconds": 1}, "owner": "Ann"}')
    command = page.get_by_label("Command").inner_text()
    page.get_by_role("button", name="Submit task").click()

    status(page, "Pending")
    system.start_worker()
    status(page, "Completed")
    expect(page.get_by_role("region", name="Result")).to_contain_text("slept_seconds: 1")
    expect(page.get_by_role("region", name="Payload")).to_contain_text('owner: "Ann"')
    expect(page.locator(".timeline")).to_contain_text("Attempt 1 completed")
    assert "It'\\''s mine" in command


def test_errors_of_the_form_are_told_at_their_fields(system: System, page: Page) -> None:
    system.start_worker()
    page.goto("/?view=submit&type=sum")
    page.get_by_role("button", name="Submit task").click()
    expect(page.locator("#e-title")).to_have_text("is required")
    expect(page.get_by_label("Title")).to_be_focused()
    page.get_by_label("Description").fill("Typing elsewhere")
    expect(page.locator("#e-title")).to_have_text("is required")
    expect(page.locator("#e-description")).to_be_empty()

    # The schema, at once; then what only the API knows.
    payload = page.get_by_label("Payload (JSON)")
    payload.fill('{"numbers": [1, "two"]}')
    expect(page.locator("#e-metadata")).to_have_text("numbers.1 must be a whole number")
    payload.fill('{"numbers": ')
    expect(page.locator("#e-metadata")).to_contain_text("is no JSON")
    payload.fill('{"numbers": [1, 2]}')
    expect(page.locator("#e-metadata")).to_be_empty()
    page.get_by_label("Title").fill("Sum")
    page.get_by_label("Description").fill("x" * 70_000)
    page.get_by_role("button", name="Submit task").click()
    expect(page.locator("#e-description")).to_contain_text("65535 bytes")


def test_a_running_task_is_cancelled(system: System, page: Page) -> None:
    system.start_worker()
    task_id = system.client.simulate(seconds=60)
    page.goto(f"/?view=task&id={task_id}")
    status(page, "Running")
    expect(page.locator(".why")).to_contain_text("Attempt 1 on worker")

    page.get_by_role("button", name="Cancel task").click()

    status(page, "Cancelled")
    assert system.client.get(task_id)["status"] == "CANCELLED"


def test_a_failed_task_shows_its_attempts_and_is_retried(system: System, page: Page) -> None:
    system.start_worker()
    task_id = system.client.run("sum", {"numbers": [1], "fail": "error"}, max_attempts=2)
    system.client.wait_for(task_id, "FAILED")
    page.goto(f"/?view=task&id={task_id}")

    expect(page.locator(".timeline")).to_contain_text("Attempt 2 failed")
    expect(page.locator(".timeline .error").first).to_have_text("ValueError: not like this")
    page.get_by_text(re.compile(r"Traceback, \d+ lines")).first.click()
    expect(page.get_by_label("Traceback").first).to_contain_text("in add")

    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".timeline")).to_contain_text("Attempt 4 failed")
    status(page, "Failed")


def test_a_clone_with_another_payload_is_a_new_task(system: System, page: Page) -> None:
    system.start_worker()
    task_id = system.client.run("sum", {"numbers": [1]}, title="To clone", max_attempts=7)
    system.client.wait_for(task_id)
    page.goto(f"/?view=task&id={task_id}")

    page.get_by_role("button", name="Clone").click()
    expect(page.get_by_label("Title")).to_have_value("To clone")
    page.get_by_label("Payload (JSON)").fill('{"numbers": [20, 22]}')
    page.get_by_role("button", name="Submit task").click()

    status(page, "Completed")
    expect(page.get_by_role("region", name="Result")).to_contain_text("sum: 42")
    clone = re.search("id=([0-9a-f-]+)", page.url)
    assert clone
    assert clone[1] != task_id
    assert system.client.get(clone[1])["max_attempts"] == 7


def test_the_end_of_a_task_is_told_again(system: System, page: Page) -> None:
    with receiver() as here:
        start(system, here)
        wish = {"callback_url": here.url("/orders"), "metadata": {"simulate": {"seconds": 0}}}
        task_id = system.client.post(**wish).json()["task_id"]
        wait_until(lambda: len(here.received) == 1, 20, "the webhook")
        page.goto(f"/?view=task&id={task_id}")
        expect(page.locator(".facts")).to_contain_text("/orders")

        page.get_by_role("button", name="Send webhook again").click()

        expect(page.locator("#toasts")).to_contain_text("sent again")
        wait_until(lambda: len(here.received) == 2, 20, "the second webhook")
        first, second = (received.headers["webhook-id"] for received in here.received)
        assert first == second


def test_a_deleted_task_is_said_to_be_gone(system: System, page: Page) -> None:
    task_id = system.client.post(delay_seconds=600).json()["task_id"]
    page.goto(f"/?view=task&id={task_id}")
    status(page, "Pending")
    expect(page.locator(".why")).to_contain_text("It is due at")

    system.client.delete(task_id)

    expect(page.get_by_role("heading", name="No task has this id")).to_be_visible()
