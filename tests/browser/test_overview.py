"""The whole at one look, and what is wrong with it."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.conftest import System
from tests.local.broker import BrokerServer

HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_counts_and_workers_follow_what_happens(system: System, page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", name="No task yet")).to_be_visible()
    system.start_worker()
    expect(page.locator(".card .state")).to_have_text("live")

    system.client.submit("Seen at work", simulate={"seconds": 3})
    expect(page.locator(".running")).to_contain_text("Seen at work")
    expect(page.locator(".tile", has_text="Completed").locator("strong")).to_have_text("1")
    page.locator(".tile", has_text="Completed").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.url.endswith("?view=tasks&status=COMPLETED")


def test_a_killed_worker_is_told_and_so_is_the_next_one(system: System, page: Page) -> None:
    worker = system.start_worker()
    page.goto("/")
    expect(page.locator(".card .state")).to_have_text("live")

    worker.kill()
    task_id = system.client.simulate()
    banner = page.locator(".notice", has_text="No worker is alive.")
    expect(banner).to_contain_text("simulate")
    expect(page.locator(".card .state")).to_contain_text("silent for")
    banner.get_by_role("link", name="Show them").click()
    expect(page.locator("tbody tr")).to_have_count(1)

    system.start_worker()
    system.client.wait_for(task_id, "COMPLETED")
    expect(banner).to_have_count(0)


def test_an_api_that_goes_away_is_told_and_comes_back_by_itself(system: System, page: Page) -> None:
    page.goto("/?view=tasks")
    expect(page.locator("#live")).to_have_text("Live")

    system.stack.services[0].stop()
    expect(page.locator(".notice", has_text="The API is down.")).to_contain_text("./dev start")
    expect(page.locator("#live")).to_have_text("Reconnecting")

    system.stack.start_api()
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator(".notice")).to_have_count(0)
    system.client.submit("After the restart")
    expect(page.locator("tbody")).to_contain_text("After the restart")


def test_a_lost_stream_is_told_and_missed_changes_are_read(
    system: System, page: Page, context: BrowserContext
) -> None:
    page.goto("/?view=tasks")
    expect(page.locator("#live")).to_have_text("Live")
    stream = re.compile("/api/events")

    context.route(stream, lambda route: route.abort())
    system.stack.services[0].stop()
    system.stack.start_api()
    expect(page.locator(".notice", has_text="The connection is lost.")).to_be_visible()
    system.client.submit("Missed")
    expect(page.locator("tbody")).not_to_contain_text("Missed")

    context.unroute(stream)
    expect(page.locator("tbody")).to_contain_text("Missed")
    expect(page.locator(".notice")).to_have_count(0)


@pytest.mark.usefixtures("real")
def test_a_broker_that_is_away_is_told_with_its_time(
    system: System, page: Page, broker: BrokerServer
) -> None:
    system.start_worker()
    page.goto("/")
    expect(page.locator(".aside")).to_contain_text("Broker connected")

    broker.stop()
    system.client.simulate()
    expect(page.locator(".notice", has_text="The broker is away since")).to_be_visible()

    broker.start()
    expect(page.locator(".notice", has_text="The broker is away since")).to_have_count(0)


def test_a_hidden_tab_asks_for_nothing_and_is_up_to_date_when_seen_again(
    system: System, page: Page
) -> None:
    page.goto("/?view=tasks")
    expect(page.locator("#live")).to_have_text("Live")

    with page.expect_event("requestfailed", lambda request: "events" in request.url):
        page.evaluate(HIDE, True)
    expect(page.locator("#live")).to_have_text("Paused")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    system.client.submit("Unseen")
    page.clock.install()
    page.clock.run_for(60_000)
    assert asked == []

    page.evaluate(HIDE, False)
    expect(page.locator("tbody")).to_contain_text("Unseen")
    expect(page.locator("#live")).to_have_text("Live")
