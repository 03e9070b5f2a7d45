"""How much comes over the wire until the page is there, and under which rules."""

from playwright.sync_api import Browser, Page, Response, expect

from tests.conftest import System
from tests.local.servers import wait_until

FIRST_PAINT_BYTES = 100_000


def test_the_first_paint_is_light(system: System, page: Page) -> None:
    system.start_worker()
    system.client.submit_batch([{"title": f"T {n}", "description": "x"} for n in range(100)])
    left = "SELECT id FROM tasks WHERE status <> 'COMPLETED'"
    wait_until(lambda: not system.tables.rows(left), 60, "all to be done")
    came: list[Response] = []
    page.on("response", lambda response: came.append(response))

    page.goto("/")
    expect(page.locator(".tile strong").first).to_have_text("0")

    # The stream has no end, and begins after the first paint.
    sizes = [r.request.sizes() for r in came if not r.url.endswith("/api/events")]
    assert len(sizes) > 15
    total = sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)
    assert total < FIRST_PAINT_BYTES


def test_markup_and_foreign_scripts_are_refused_by_the_browser_itself(
    system: System, chromium: Browser
) -> None:
    page = chromium.new_page()
    page.goto(system.stack.url)

    refused = page.evaluate(
        """() => {
          const tries = [
            () => { document.body.innerHTML = "<b>evil</b>"; },
            () => { document.createElement("script").src = "data:text/javascript,1"; },
          ];
          return tries.map((one) => { try { one(); return "done"; } catch { return "refused"; } });
        }"""
    )

    assert refused == ["refused", "refused"]
    page.close()
