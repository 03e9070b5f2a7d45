"""How long the dashboard holds the browser's main thread, with a history and many changes a second.

    .venv/bin/python -m bench.page [rows] [changes a second] [seconds]

Needs Chromium. Runs on SQLite: it is the page that is measured, not the API.
"""

import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

from playwright.sync_api import Page

from tests.client import Client
from tests.local.browser import browser, missing
from tests.local.services import LocalStack

VIEWS = ("overview", "tasks", "failures", "workers")
BATCH = 1_000
#: Each task changes at least three times: submitted, PROCESSING, COMPLETED.
CHANGES = 3
_OBSERVE = """() => {
  window.tasks = [];
  new PerformanceObserver((list) => list.getEntries().forEach((one) => tasks.push(one.duration)))
    .observe({ type: "longtask", buffered: true });
}"""


def main(rows: int = 10_000, rate: int = 50, seconds: int = 20) -> None:
    if sentence := missing():
        sys.exit(f"page: {sentence}")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        url, settings = f"sqlite:///{folder}/tasks.db", {"WORK_SECONDS": "0", "LOG_LEVEL": "ERROR"}
        with LocalStack(url, logs=Path(folder), settings=settings) as stack:
            stack.start_api()
            with closing(Client(stack.url)) as client:
                for _ in range(rows // BATCH):
                    client.submit_batch(_tasks(BATCH, 86_400))
                stack.start_worker()
                _measure_all(stack.url, client, rate, seconds)


def _measure_all(url: str, client: Client, rate: int, seconds: int) -> None:
    over = threading.Event()
    source = threading.Thread(target=_submit, args=(client, rate, over))
    source.start()
    try:
        with browser() as chromium:
            for view in VIEWS:
                page = chromium.new_page(viewport={"width": 1280, "height": 800})
                page.goto(f"{url}/?view={view}")
                page.evaluate(_OBSERVE)
                long = _watch(page, seconds)
                print(
                    f"{view}: {len(long)} tasks over 50 ms, longest {max(long, default=0):.0f} ms"
                )
                page.close()
    finally:
        over.set()
        source.join()


def _watch(page: Page, seconds: int) -> list[float]:
    page.wait_for_timeout(seconds * 1000)
    found: list[float] = page.evaluate("tasks")
    return found


def _submit(client: Client, rate: int, over: threading.Event) -> None:
    while not over.wait(0.2):
        client.submit_batch(_tasks(max(rate // CHANGES // 5, 1), None))


def _tasks(count: int, delay: float | None) -> list[dict[str, object]]:
    return [
        {"title": f"Task {n} of many", "description": "D", "delay_seconds": delay}
        for n in range(count)
    ]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
