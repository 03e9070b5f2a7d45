"""The whole in numbers, from tables that the tests fill."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
import uuid_utils
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import insert, select

from src.config import Settings
from src.db.database import Database
from src.db.dialect import now
from src.main import create_app
from src.models.tables import Attempt, Task, TaskMinute, TaskType, Worker
from src.services.listing import first_id
from src.services.minutes import read_minutes

Submit = Callable[..., httpx2.Response]
MINUTE = timedelta(minutes=1)


@pytest.fixture
def database(app: FastAPI) -> Database:
    database: Database = app.state.runtime().database
    return database


def store(database: Database, table: Any, **columns: Any) -> None:
    database.write(lambda connection: connection.execute(insert(table).values(**columns)))


def store_task(database: Database, at: datetime, **columns: Any) -> str:
    """Store a task that was submitted at this time, COMPLETED a second later unless told else."""
    # The time of the first, so that it is as if it had been made then.
    task_id = first_id(at)[:18] + str(uuid_utils.uuid7())[18:]
    ended = columns.get("completed_at", at + timedelta(seconds=1))
    row = {
        "id": task_id,
        "title": "A task",
        "description": "For a test",
        "status": "COMPLETED",
        "created_at": at,
        "updated_at": ended or at,
        "completed_at": ended,
        "run_at": at,
        "started_at": at + timedelta(milliseconds=10),
        **columns,
    }
    store(database, Task, **row)
    return task_id


def store_worker(database: Database, worker_id: str, age: timedelta, types: list[str]) -> None:
    instant = database.read(now)
    store(
        database,
        Worker,
        id=worker_id,
        host="h",
        pid=1,
        started=instant - timedelta(hours=1),
        beat_at=instant - age,
        lease_seconds=15,
        max_attempts=3,
        concurrency=8,
        types=types,
    )


def count(number: int, *, or_more: bool = False) -> dict[str, Any]:
    return {"count": number, "or_more": or_more}


def test_an_empty_table_has_statistics(client: TestClient) -> None:
    stats = client.get("/api/stats").json()

    assert stats["by_status"]["PENDING"] == count(0)
    assert stats["oldest_due_seconds"] is None
    assert stats["wait_ms"] == {"p50": None, "p95": None}
    assert stats["failures"] == []
    assert stats["broker"] == {"state": "none", "since": None}
    assert stats["database"]["state"] == "connected"


def test_tasks_are_counted_by_status_type_and_priority(
    client: TestClient, database: Database, submit: Submit
) -> None:
    submit(priority="high")
    submit()
    store(database, TaskType, name="mail", updated_at=database.read(now))
    at = database.read(now)
    store_task(database, at, type="mail", priority=2)

    stats = client.get("/api/stats").json()

    assert stats["by_status"]["PENDING"] == count(2)
    assert stats["by_status"]["COMPLETED"] == count(1)
    assert stats["by_type"] == {"mail": count(1), "simulate": count(2)}
    assert stats["by_priority"] == {"high": count(1), "normal": count(1), "low": count(1)}


def test_counting_ends_at_the_cap(
    monkeypatch: pytest.MonkeyPatch, client: TestClient, submit: Submit
) -> None:
    monkeypatch.setattr("src.services.statistics.MAX_COUNT", 2)
    monkeypatch.setattr("src.api.overviews.MAX_COUNT", 2)
    for _ in range(3):
        submit()

    stats = client.get("/api/stats").json()

    assert stats["by_status"]["PENDING"] == count(2, or_more=True)
    assert stats["by_type"]["simulate"] == count(2, or_more=True)


def test_the_oldest_task_that_waits_is_one_that_is_due(
    client: TestClient, database: Database, submit: Submit
) -> None:
    submit(delay_seconds=600)
    at = database.read(now) - timedelta(seconds=90)
    store_task(database, at, status="PENDING", completed_at=None)

    assert 90 <= client.get("/api/stats").json()["oldest_due_seconds"] < 150


def test_times_are_of_the_tasks_that_finished(client: TestClient, database: Database) -> None:
    at = database.read(now)
    for wait in range(1, 21):
        begun = at + timedelta(milliseconds=wait)
        store_task(
            database, at, started_at=begun, completed_at=begun + timedelta(milliseconds=100 * wait)
        )

    stats = client.get("/api/stats").json()

    assert stats["finished"] == 20
    assert stats["wait_ms"] == {"p50": 10, "p95": 19}
    assert stats["run_ms"] == {"p50": 1000, "p95": 1900}


def test_failures_are_grouped_by_type_and_class_of_error(
    client: TestClient, database: Database
) -> None:
    at = database.read(now)
    for second, error in enumerate(["OSError: a: b", "OSError: c", "timeout: long", None]):
        ended = at + timedelta(seconds=second)
        store_task(database, at, status="FAILED", error=error, completed_at=ended)

    failures = client.get("/api/stats").json()["failures"]

    assert [(group["error"], group["count"]) for group in failures] == [
        ("OSError", 2),
        ("unknown", 1),
        ("timeout", 1),
    ]
    assert failures[0]["latest_at"].startswith(
        (at + timedelta(seconds=1)).isoformat("T", "seconds")
    )


def test_minutes_that_are_over_are_counted_once_and_kept(
    client: TestClient, database: Database
) -> None:
    current = database.read(now).replace(second=0, microsecond=0)
    past = current - 10 * MINUTE
    task_id = store_task(database, past)
    store_task(database, past, status="FAILED")
    store_task(database, past, status="CANCELLED", completed_at=past + MINUTE)

    minutes = {m["minute"]: m for m in client.get("/api/stats").json()["minutes"]}
    client.delete(f"/api/tasks/{task_id}")
    again = {m["minute"]: m for m in client.get("/api/stats").json()["minutes"]}

    name = past.isoformat(timespec="milliseconds") + "Z"
    assert minutes[name] == {
        "minute": name,
        "submitted": 3,
        "completed": 1,
        "failed": 1,
        "cancelled": 0,
    }
    assert minutes[(past + MINUTE).isoformat(timespec="milliseconds") + "Z"]["cancelled"] == 1
    assert again[name] == minutes[name]
    kept = select(TaskMinute.minute)
    stored = database.read(lambda connection: set(connection.scalars(kept)))
    assert past in stored
    assert current not in stored


def test_what_a_call_has_no_time_for_the_next_one_counts(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    instant = database.read(now)
    monkeypatch.setattr("src.services.minutes.BUDGET_SECONDS", -1.0)
    assert read_minutes(database, instant, 60) == []
    monkeypatch.undo()

    minutes = read_minutes(database, instant, 60)

    first = instant.replace(second=0, microsecond=0) - 59 * MINUTE
    assert [m.minute for m in minutes] == [first + n * MINUTE for n in range(60)]


def test_workers_are_listed_with_what_they_run(client: TestClient, database: Database) -> None:
    store_worker(database, "live", timedelta(seconds=2), ["simulate"])
    store_worker(database, "silent", timedelta(seconds=60), ["mail"])
    at = database.read(now)
    task_id = store_task(
        database, at, status="PROCESSING", worker_id="live", attempt=1, completed_at=None
    )

    workers = {w["worker"]: w for w in client.get("/api/workers").json()["workers"]}

    assert (workers["live"]["is_live"], workers["silent"]["is_live"]) == (True, False)
    assert 2 <= workers["live"]["heartbeat_age_seconds"] < 30
    assert [task["task_id"] for task in workers["live"]["running"]] == [task_id]
    assert workers["silent"]["running"] == []


def test_types_are_listed_with_the_live_workers_that_serve_them(
    client: TestClient, database: Database
) -> None:
    for name in ("mail", "simulate"):
        store(database, TaskType, name=name, updated_at=database.read(now))
    store_worker(database, "live", timedelta(seconds=2), ["simulate"])
    store_worker(database, "silent", timedelta(seconds=60), ["mail", "simulate"])

    types = client.get("/api/task-types").json()["types"]

    assert [(t["name"], t["live_workers"]) for t in types] == [("mail", 0), ("simulate", 1)]


def test_attempts_are_the_ledger_and_what_the_task_itself_says(
    client: TestClient, database: Database
) -> None:
    at = database.read(now)
    task_id = store_task(database, at, attempt=2, worker_id="w")
    store(
        database,
        Attempt,
        task_id=task_id,
        attempt=1,
        worker_id="w",
        started_at=at,
        finished_at=at + timedelta(milliseconds=7),
        outcome="error",
        error="ValueError: no",
        traceback="Traceback …",
    )

    attempts = client.get(f"/api/tasks/{task_id}/attempts").json()["attempts"]

    assert [(a["attempt"], a["outcome"]) for a in attempts] == [(1, "error"), (2, "completed")]
    assert (attempts[0]["duration_ms"], attempts[0]["error"]) == (7, "ValueError: no")
    assert attempts[1]["error"] is None


@pytest.fixture
def real_client(real_database: Database) -> Iterator[TestClient]:
    url = real_database.engine.url.render_as_string(hide_password=False)
    app = create_app(Settings(database_url=url, broker_url=""))
    yield TestClient(app, raise_server_exceptions=False)
    app.state.close()


def test_the_real_database_tells_the_same(real_client: TestClient, real_database: Database) -> None:
    at = real_database.read(now).replace(second=0, microsecond=0) - 10 * MINUTE
    store_task(real_database, at)
    store_task(real_database, at, status="FAILED", error="OSError: a", attempt=1)
    store_worker(real_database, "live", timedelta(seconds=2), ["simulate"])
    body = {"title": "A", "description": "B"}
    path = real_client.post("/api/tasks", json=body).headers["Location"]

    for _ in range(2):
        stats = real_client.get("/api/stats").json()

    assert stats["by_status"]["FAILED"] == count(1)
    assert stats["by_type"]["simulate"] == count(3)
    assert stats["wait_ms"] == {"p50": 10, "p95": 10}
    [minute] = [m for m in stats["minutes"] if m["submitted"] == 2]
    assert (minute["completed"], minute["failed"]) == (1, 1)
    assert [group["error"] for group in stats["failures"]] == ["OSError"]
    answer = real_client.get("/api/workers")
    assert answer.status_code == 200, answer.text
    assert answer.json()["workers"][0]["is_live"]
    reason = real_client.get(f"{path}/explain").json()
    assert (reason["code"], reason["facts"]["ahead"]) == ("queued", 0)
