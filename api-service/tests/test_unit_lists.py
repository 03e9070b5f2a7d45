"""Lists of tasks: their order, pages, filters and words."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from conftest import fields
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import insert

from src.config import Settings
from src.db.database import Database
from src.main import create_app
from src.models.tables import Task
from src.services.listing import first_id

#: When the task 0 was created; each other one a minute later than the one before.
BEGIN = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=2)


class Shelf:
    """Tasks in a database, and the lists that a client gets of them."""

    def __init__(self, database: Database, client: TestClient) -> None:
        self._database = database
        self._client = client

    def put(self, number: int, **changes: Any) -> str:
        """Store a task as of so many minutes after the beginning; return its id."""
        at = (BEGIN + timedelta(minutes=number)).replace(tzinfo=None)
        row = {
            "id": first_id(at),
            "title": f"Task {number}",
            "description": "Long",
            "status": "PENDING",
            "metadata": {"long": True},
            "created_at": at,
            "updated_at": at,
            "run_at": at,
            **changes,
        }
        self._database.write(lambda connection: connection.execute(insert(Task), [row]))
        return str(row["id"])

    def get(self, url: str = "/api/tasks", **query: Any) -> httpx2.Response:
        return self._client.get(url, params=query or None)

    def ids(self, **query: Any) -> list[str]:
        response = self.get(**query)
        assert response.status_code == 200, response.text
        return [task["task_id"] for task in response.json()["tasks"]]


def minute(number: float, zone: timedelta = timedelta()) -> str:
    """Write a time of so many minutes after the beginning in a zone that far from UTC."""
    return f"{BEGIN + timedelta(minutes=number) + zone:%Y-%m-%dT%H:%M:%S}+0{zone}"[:25]


@pytest.fixture
def shelf(app: FastAPI, client: TestClient) -> Shelf:
    return Shelf(app.state.runtime().database, client)


@pytest.fixture
def real_shelf(real_database: Database) -> Iterator[Shelf]:
    app = create_app(Settings(database_url=os.environ["TEST_DATABASE_URL"], broker_url=""))
    yield Shelf(real_database, TestClient(app, raise_server_exceptions=False))
    app.state.close()


# --- pages ----------------------------------------------------------------------------------------


def each_is_on_one_page(shelf: Shelf) -> None:
    newest_first = [shelf.put(number) for number in range(5)][::-1]

    first = shelf.get(limit=2).json()
    shelf.put(9)
    second = shelf.get(limit=2, cursor=first["next"]).json()
    last = shelf.get(limit=2, cursor=second["next"])

    pages = (first, second, last.json())
    assert [len(page["tasks"]) for page in pages] == [2, 2, 1]
    assert [task["task_id"] for page in pages for task in page["tasks"]] == newest_first
    assert (last.json()["next"], "Link" in last.headers) == (None, False)


def filters_leave_what_fits_all_of_them(shelf: Shelf) -> None:
    kinds = [("FAILED", "report", 0), ("FAILED", "simulate", 2), ("PENDING", "report", 1)]
    failed, low, waiting = (
        shelf.put(n, status=status, type=type_, priority=priority)
        for n, (status, type_, priority) in enumerate(kinds)
    )
    done = shelf.put(3, status="COMPLETED", type="report", priority=0)

    assert shelf.ids() == [done, waiting, low, failed]
    assert shelf.ids(status="FAILED") == [low, failed]
    assert shelf.ids(status=["COMPLETED", "FAILED"]) == [done, low, failed]
    assert shelf.ids(type="report") == [done, waiting, failed]
    assert shelf.ids(type=["report", "simulate"], priority=["low", "normal"]) == [waiting, low]
    assert shelf.ids(priority="high") == [done, failed]
    assert shelf.ids(priority="high", status="FAILED", type="report") == [failed]
    assert shelf.ids(status="FAILED", created_after=minute(1)) == [low]
    assert shelf.ids(type="report", created_after=minute(1), q="task") == [done, waiting]


def types_that_no_task_has_find_nothing(shelf: Shelf) -> None:
    shelf.put(0, type="report")

    assert shelf.ids(type="Report") == []
    assert shelf.ids(type="repört") == []


def times_include_their_beginning_and_exclude_their_end(shelf: Shelf) -> None:
    ids = [shelf.put(number) for number in range(4)]

    assert shelf.ids(created_after=minute(2)) == [ids[3], ids[2]]
    assert shelf.ids(created_before=minute(2)) == [ids[1], ids[0]]
    assert shelf.ids(created_after=minute(0.5), created_before=minute(2.5)) == [ids[2], ids[1]]
    assert shelf.ids(created_after=minute(2, timedelta(hours=2))) == [ids[3], ids[2]]
    assert shelf.ids(created_after="0001-01-01T00:00:00Z") == ids[::-1]
    assert shelf.ids(created_before="9999-12-31T23:59:59Z") == ids[::-1]
    assert shelf.ids(created_before="0001-01-01T00:00:00+14:00") == []


def words_are_taken_literally_in_any_order_and_case(shelf: Shelf) -> None:
    report = shelf.put(0, title="Monthly REPORT of sales")
    percent = shelf.put(1, title="100% of it_all")
    path = shelf.put(2, title=r"C:\new /etc 'x'")

    assert shelf.ids(q="sales month") == shelf.ids(q="report  Monthly") == [report]
    assert shelf.ids(q="%") == shelf.ids(q="0% OF") == [percent]
    assert shelf.ids(q="_") == shelf.ids(q="it_") == [percent]
    assert shelf.ids(q=r"c:\n") == shelf.ids(q="/E") == shelf.ids(q="'x'") == [path]
    assert shelf.ids(q="report it_all") == shelf.ids(q="1_0") == shelf.ids(q="s%s") == []
    assert shelf.ids(q="of") == [percent, report]


CORE = [
    each_is_on_one_page,
    filters_leave_what_fits_all_of_them,
    types_that_no_task_has_find_nothing,
    times_include_their_beginning_and_exclude_their_end,
    words_are_taken_literally_in_any_order_and_case,
]


@pytest.mark.parametrize("behaviour", CORE)
def test_in_a_list(shelf: Shelf, behaviour: Any) -> None:
    behaviour(shelf)


@pytest.mark.parametrize("behaviour", CORE)
def test_in_a_list_of_a_server(real_shelf: Shelf, behaviour: Any) -> None:
    behaviour(real_shelf)


def test_a_list_of_nothing_is_empty(shelf: Shelf) -> None:
    assert shelf.get().json() == {"tasks": [], "next": None, "searched": None}


@pytest.mark.parametrize(("count", "pages"), [(4, 2), (5, 3)])
def test_following_the_link_keeps_the_filters_and_shows_each_once(
    shelf: Shelf, count: int, pages: int
) -> None:
    states = ["FAILED", "CANCELLED"]
    ids = [shelf.put(n, status=states[n % 2], title=f"100% + {n}") for n in range(count)]
    shelf.put(count, title="100% + but PENDING")

    seen = [shelf.get(limit=2, status=states, q="+ 100%", created_after=minute(0))]
    while "next" in seen[-1].links:
        seen.append(shelf.get(seen[-1].links["next"]["url"]))

    assert len(seen) == pages
    assert [t["task_id"] for page in seen for t in page.json()["tasks"]] == ids[::-1]


def test_an_entry_is_the_task_without_its_long_fields(shelf: Shelf) -> None:
    task_id = shelf.put(0)

    [entry] = shelf.get().json()["tasks"]

    task = shelf.get(f"/api/tasks/{task_id}").json()
    long_ones = {"description", "metadata", "result"}
    assert entry == {name: value for name, value in task.items() if name not in long_ones}


# --- words ----------------------------------------------------------------------------------------


def test_an_id_as_words_finds_its_task_alone(shelf: Shelf) -> None:
    task_id = shelf.put(0, status="FAILED")
    shelf.put(1, title=f"About {task_id}")

    assert shelf.ids(q=task_id) == shelf.ids(q=f" {task_id.upper()} ") == [task_id]
    assert shelf.ids(q=task_id, status="PENDING") == []
    assert shelf.get(q=task_id).json()["searched"] is None


def test_an_answer_to_words_tells_how_far_it_looked(shelf: Shelf) -> None:
    shelf.put(0)
    shelf.put(1, status="FAILED")
    shelf.put(2, status="FAILED")

    searched = shelf.get(q="nothing like it", status="FAILED").json()["searched"]

    assert searched == {"rows": 2, "back_to": minute(1)[:19] + ".000Z"}
    assert shelf.get().json()["searched"] is None


# --- errors ---------------------------------------------------------------------------------------


def the_class_of_an_error_is_what_stands_before_its_colon(shelf: Shelf) -> None:
    failed = {"status": "FAILED"}
    alone = shelf.put(0, error="Timeout", **failed)
    worded = shelf.put(1, error="Timeout: after 60 s", **failed)
    shelf.put(2, error="TimeoutOfSomebodyElse: no", **failed)
    shelf.put(3, error="no Timeout: at all", **failed)
    wild = shelf.put(4, error="100%_: sure", **failed)
    cut = shelf.put(5, error="x" * 150, **failed)
    shelf.put(6)

    assert shelf.ids(error="Timeout") == [worded, alone]
    assert shelf.ids(error="Timeout", q="task 1") == [worded]
    assert shelf.ids(error="Timeout", q=alone) == [alone]
    assert shelf.ids(error="100%_") == [wild]
    assert shelf.ids(error="x" * 100) == [cut]
    assert shelf.ids(error="x" * 99) == []
    assert shelf.get(error="Timeout", limit=1).json()["searched"]["rows"] == 7


def test_the_class_of_an_error(shelf: Shelf) -> None:
    the_class_of_an_error_is_what_stands_before_its_colon(shelf)


def test_the_class_of_an_error_on_a_server(real_shelf: Shelf) -> None:
    the_class_of_an_error_is_what_stands_before_its_colon(real_shelf)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *[(f"limit={wrong}", "limit") for wrong in ("0", "201", "-1", "ten", "1.5", "")],
        *[(f"cursor={wrong}", "cursor") for wrong in ("", "x", "0", "%00", "ü", "a" * 300)],
        *[(f"status={wrong}", "status.0") for wrong in ("failed", "DONE", "", "FAILED,PENDING")],
        *[(f"priority={wrong}", "priority.0") for wrong in ("0", "urgent", "HIGH")],
        *[(f"type={wrong}", "type.0") for wrong in ("", "x" * 65, "%00")],
        *[(f"error={wrong}", "error") for wrong in ("", "%20", "x" * 256, "%00")],
        *[(f"q={wrong}", "q") for wrong in ("", "%20", "x" * 256, "%00", "a+" * 11)],
        *[
            (f"{name}={wrong}", name)
            for name in ("created_after", "created_before")
            for wrong in ("", "2026-01-23", "2026-01-23T04:17:34", "yesterday", "1700000000")
        ],
        ("created_after=2026-01-23T04:17:34+01:00", "created_after"),
    ],
)
def test_a_malformed_value_is_400_and_named(shelf: Shelf, query: str, field: str) -> None:
    response = shelf.get(f"/api/tasks?{query}")

    assert response.status_code == 400
    assert fields(response) == [field]


def test_a_plus_in_a_time_is_explained(shelf: Shelf) -> None:
    written = shelf.get("/api/tasks?created_after=2026-01-23T04:17:34%2B01:00")
    raw = shelf.get("/api/tasks?created_after=2026-01-23T04:17:34+01:00")

    assert written.status_code == 200
    assert "%2B" in raw.json()["detail"]


@pytest.mark.parametrize(
    ("wrong", "right"), [("statuss", "status"), ("Limit", "limit"), ("created", "created_after")]
)
def test_an_unknown_parameter_is_400_with_the_nearest_known_one(
    shelf: Shelf, wrong: str, right: str
) -> None:
    response = shelf.get(**{wrong: "1"})

    assert response.status_code == 400
    assert fields(response) == [wrong]
    assert f"did you mean '{right}'?" in response.json()["detail"]


def test_a_search_looks_at_no_more_rows_than_it_says(
    client: TestClient, submit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.services.listing.SEARCHED_ROWS", 5)
    monkeypatch.setattr("src.services.listing.SEARCHED_AT_ONCE", 3)
    for _ in range(8):
        submit()

    first = client.get("/api/tasks", params={"q": "unicorn"}).json()
    rest = client.get("/api/tasks", params={"q": "unicorn", "cursor": first["next"]}).json()

    assert (first["tasks"], first["searched"]["rows"]) == ([], 5)
    assert (rest["next"], rest["searched"]["rows"]) == (None, 3)
