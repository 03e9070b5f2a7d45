"""``./dev screenshots``: pictures of the dashboard over a system with examples in it."""

import random
import tempfile
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.client import Client, Tables
from tests.local.browser import browser, missing
from tests.local.servers import ServerError, wait_until
from tests.local.services import ROOT, LocalStack

VIEWS = {
    "overview": "?view=overview",
    "tasks": "?view=tasks",
    "task": "?view=task&id={failed}",
    "task-running": "?view=task&id={running}",
    "submit": "?view=submit&type=export",
    "workers": "?view=workers",
    "failures": "?view=failures",
}
THEMES = ("light", "dark")
#: What the README shows: a view, and its theme there.
README = {"overview": "light", "tasks": "dark"}
WIDTHS = {"wide": (1280, 800), "narrow": (360, 740)}
#: Finished tasks of the last hour.
HISTORY = 900
_TITLES = {
    "greet": ["Greet {name}", "Welcome {name}"],
    "export": ["Export of {name}'s orders", "Monthly report for {name}"],
    "charge": ["Charge {name}", "Refund for {name}"],
    "simulate": ["Thumbnails for {name}", "Reindex the shelf of {name}"],
}
_NAMES = ["Ada", "Grace", "Edsger", "Barbara", "Alan", "Margaret", "Donald", "Radia"]
_ERRORS = {
    "charge": ["ConnectionError: the provider did not answer", "Permanent: the account is closed"],
    "export": ["timeout: the attempt took longer than 60 s"],
    "simulate": ["SimulatedError: printer on fire"],
    "greet": ["KeyError: 'name'"],
}


def take(folder: Path | None) -> int:
    """Take the README's two pictures, or those of every view, theme and width into a folder."""
    if sentence := missing():
        raise ServerError(sentence)
    with tempfile.TemporaryDirectory() as data:
        url = f"sqlite:///{Path(data) / 'tasks.db'}"
        settings = {"HANDLER_MODULES": "handlers.examples"}
        with LocalStack(url, logs=Path(data), settings=settings) as stack:
            stack.start_api()
            with closing(Tables(url)) as tables, closing(Client(stack.url)) as client:
                ids = _fill(stack, client, tables)
                with browser() as chromium:
                    _take_all(chromium, stack.url, ids, folder)
    return 0


def _take_all(chromium: Browser, url: str, ids: dict[str, str], folder: Path | None) -> None:
    if folder is None:
        for view, theme in README.items():
            path = ROOT / f"docs/dashboard-{view}.png"
            _take(chromium, f"{url}/{VIEWS[view]}", theme, WIDTHS["wide"], path)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, address in VIEWS.items():
        for theme in THEMES:
            for width, size in WIDTHS.items():
                path = folder / f"{name}-{theme}-{width}.png"
                _take(chromium, f"{url}/{address.format(**ids)}", theme, size, path, whole=True)


def _take(
    chromium: Browser, url: str, theme: str, size: tuple[int, int], path: Path, whole: bool = False
) -> None:
    page = chromium.new_page(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if theme == "dark" else "light",
    )
    page.goto(url)
    _settle(page)
    page.screenshot(path=path, full_page=whole)
    page.close()
    print(f"dev: wrote {path}")


def _settle(page: Page) -> None:
    """Wait until the view has what it shows, and the stream is there."""
    page.wait_for_selector("#live[data-state=live]")
    page.wait_for_selector("main h1, main h2")
    page.wait_for_timeout(700)


def _fill(stack: LocalStack, client: Client, tables: Tables) -> dict[str, str]:
    """Fill the system with tasks in every status; return the ids of those with a page."""
    _write_history(tables)
    for _ in range(2):
        stack.start_worker()
    wait_until(lambda: {"export", "charge"} <= tables.types(), 20, "the types to be known")
    wait_until(lambda: len(tables.workers()) == 2, 20, "the workers to register")
    for number, worker in enumerate(tables.workers(), 1):
        tables.write("UPDATE workers SET host = :host WHERE id = :id", host=f"w{number}", id=worker)
    submit = client.run
    failed = submit(
        "charge",
        {"account": "closed", "cents": 1250, "items": ["books", {"isbn": "0-201-89683-4"}]},
        title="Charge Margaret for order 1042",
        description="Two books, to be paid at once; the order waits for it.",
    )
    running = submit(
        "export",
        {"rows": 9000},
        title="Export of Radia's orders",
        description="As CSV",
        priority="high",
    )
    for n, name in enumerate(_NAMES):
        submit("export", {"rows": 3000 + 900 * n}, title=f"Monthly report for {name}")
    simulated = {"seconds": 40, "fail_attempts": 1}
    client.post(title="Reindex the shelf of Ada", metadata={"simulate": simulated})
    flaky = {"simulate": {"seconds": 0, "fail_attempts": 9, "error": "printer on fire"}}
    for name in _NAMES[:3]:
        client.post(title=f"Print the labels for {name}", metadata=flaky, max_attempts=9)
    for name in _NAMES[:4]:
        fields = {"delay_seconds": 5400, "priority": "low"}
        client.post(title=f"Tidy up after {name}", **fields)
    cancelled = client.post(title="Newsletter of October", delay_seconds=600).json()["task_id"]
    client.cancel(cancelled)
    for name in _NAMES[:5]:
        submit("greet", {"name": name}, title=f"Greet {name}")
    client.wait_for(failed, "FAILED")
    client.wait_for(running, "PROCESSING")
    busy = "SELECT busy FROM workers"
    wait_until(lambda: all(row["busy"] for row in tables.rows(busy)), 20, "them to be busy")
    return {"failed": failed, "running": running}


def _write_history(tables: Tables) -> None:
    """Write what an hour of work leaves; there is no other way to have it at once."""
    chance = random.Random(7)
    now = datetime.now(UTC).replace(tzinfo=None)
    for n in range(HISTORY):
        minutes = 60 * (1 - (n / HISTORY) ** 0.8) + chance.random()
        at = now - timedelta(minutes=minutes + 1)
        kind = chance.choice(list(_TITLES))
        status = chance.choices(["COMPLETED", "FAILED", "CANCELLED"], [93, 6, 1])[0]
        started = at + timedelta(milliseconds=chance.lognormvariate(2.5, 0.8))
        ended = started + timedelta(milliseconds=chance.lognormvariate(7, 0.9))
        name = chance.choice(_NAMES)
        tables.write(
            "INSERT INTO tasks (id, title, description, status, metadata, created_at, updated_at,"
            " completed_at, type, priority, run_at, attempt, errors, crashes, started_at,"
            " cancel_requested, error) VALUES (:id, :title, 'An example', :status, '{}', :at,"
            " :ended, :ended, :type, :priority, :at, 1, :errors, 0, :started, 0, :error)",
            id=_id(at, chance),
            title=chance.choice(_TITLES[kind]).format(name=name),
            status=status,
            at=_written(at),
            started=_written(started),
            ended=_written(ended),
            type=kind,
            priority=chance.choices([0, 1, 2], [1, 6, 2])[0],
            errors=int(status == "FAILED"),
            error=chance.choice(_ERRORS[kind]) if status == "FAILED" else None,
        )


def _written(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="microseconds")


def _id(at: datetime, chance: random.Random) -> str:
    """Make an id whose time is that of the task, as the API does."""
    milliseconds = int(at.replace(tzinfo=UTC).timestamp() * 1000)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | chance.getrandbits(60)))
