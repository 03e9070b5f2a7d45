"""Repeating and deleting a task, many at once, and what headers tell of a task."""

import asyncio
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import httpx2
import pytest
from conftest import fields
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import delete, insert, select, update

from src.config import Settings
from src.db.database import Database
from src.main import create_app
from src.models.tables import Attempt, Outbox, Task
from src.services.bulk import BulkService
from src.services.catalogue import Catalogue
from src.services.new_tasks import Submission
from src.services.publisher import Message
from src.services.tasks import TaskService
from src.services.transitions import Action

STATUSES = ["PENDING", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED"]
UNKNOWN = "01931f6e-8a37-7c31-b1f5-3f0c2a9d7e10"
LONG_AGO = datetime(2020, 1, 2, 3, 4, 5)  # noqa: DTZ001 - as the tables keep it

TaskIn = Callable[..., str]
Act = Callable[..., httpx2.Response]


def put(database: Database, task_id: str, status: str, **changes: Any) -> None:
    """Write into a task's row as a worker would."""
    change = update(Task).where(Task.id == task_id).values(status=status, **changes)
    database.write(lambda connection: connection.execute(change))


def rows(database: Database, table: Any, task_id: str) -> Sequence[Any]:
    key = table.id if table is Task else table.task_id
    query = select(*table.__table__.columns).where(key == task_id)
    return database.read(lambda connection: connection.execute(query).all())


@pytest.fixture
def task_in(app: FastAPI, client: TestClient) -> TaskIn:
    """Submit a task and put it into a status; return its id."""

    def submit(status: str, title: str = "t", **changes: Any) -> str:
        body = {"title": title, "description": "d"}
        task_id = str(client.post("/api/tasks", json=body).json()["task_id"])
        put(app.state.runtime().database, task_id, status, **changes)
        return task_id

    return submit


@pytest.fixture
def act(client: TestClient) -> Act:
    def post(action: str, **body: Any) -> httpx2.Response:
        return client.post("/api/tasks/actions", json={"action": action, **body})

    return post


def status_of(client: TestClient, task_id: str) -> str:
    return str(client.get(f"/api/tasks/{task_id}").json().get("status"))


# --- one task -------------------------------------------------------------------------------------


def begins_anew(database: Database, client: TestClient, task_id: str, status: str) -> None:
    ran = {"errors": 3, "crashes": 2, "attempt": 5, "worker_id": UNKNOWN, "progress": 40}
    times = dict.fromkeys(("created_at", "run_at", "started_at", "completed_at"), LONG_AGO)
    put(database, task_id, status, **ran, **times, cancel_requested=True, progress_note="half")

    response = client.post(f"/api/tasks/{task_id}/retry")

    task = response.json()
    assert (response.status_code, task["status"], task["attempt"]) == (202, "PENDING", 5)
    assert (task["errors"], task["crashes"]) == (0, 0)
    for name in ("started_at", "worker", "completed_at", "progress", "progress_note", "wait_ms"):
        assert task[name] is None
    assert task["run_at"][:19] == task["updated_at"] > task["created_at"]
    assert response.headers["Location"] == f"/api/tasks/{task_id}"
    assert not rows(database, Task, task_id)[0].cancel_requested
    assert task == client.get(f"/api/tasks/{task_id}").json()


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_what_failed_or_was_cancelled_begins_anew(
    app: FastAPI, client: TestClient, task_in: TaskIn, status: str
) -> None:
    begins_anew(app.state.runtime().database, client, task_in(status), status)


@pytest.mark.parametrize("status", ["PENDING", "PROCESSING", "COMPLETED"])
def test_anything_else_is_not_run_again(client: TestClient, task_in: TaskIn, status: str) -> None:
    path = f"/api/tasks/{task_in(status)}"
    before = client.get(path).json()

    response = client.post(f"{path}/retry")

    assert response.status_code == 409
    assert status in response.json()["detail"]
    assert client.get(path).json() == before


@pytest.mark.parametrize("status", ["PENDING", "COMPLETED", "FAILED", "CANCELLED"])
def test_a_deleted_task_is_gone_with_its_attempts(
    app: FastAPI, client: TestClient, task_in: TaskIn, status: str
) -> None:
    database, task_id = app.state.runtime().database, task_in(status)
    row = {"task_id": task_id, "attempt": 1, "finished_at": LONG_AGO, "outcome": "error"}
    database.write(lambda connection: connection.execute(insert(Attempt), [row]))
    path = f"/api/tasks/{task_id}"

    response = client.delete(path)

    assert (response.status_code, response.content) == (204, b"")
    assert [client.get(path).status_code, client.delete(path).status_code] == [404, 404]
    assert client.get(f"{path}/attempts").status_code == 404
    assert rows(database, Attempt, task_id) == []


def test_a_running_task_is_not_deleted(client: TestClient, task_in: TaskIn) -> None:
    task_id = task_in("PROCESSING")

    assert client.delete(f"/api/tasks/{task_id}").status_code == 409
    assert status_of(client, task_id) == "PROCESSING"


@pytest.mark.parametrize("task_id", [UNKNOWN, "nothing"])
def test_an_unknown_task_is_neither_repeated_nor_deleted(client: TestClient, task_id: str) -> None:
    assert client.post(f"/api/tasks/{task_id}/retry").status_code == 404
    assert client.delete(f"/api/tasks/{task_id}").status_code == 404


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", ["{}", "W/{}", "*", '"x", {}', '"x",W/{} , "y"'])
def test_what_the_client_has_already_is_304_until_it_changes(
    client: TestClient, task_in: TaskIn, known: str
) -> None:
    path = f"/api/tasks/{task_in('PENDING')}"
    tag = client.get(path).headers["ETag"]
    headers = {"If-None-Match": known.format(tag)}

    same = client.get(path, headers=headers)
    client.post(f"{path}/cancel")
    changed = client.get(path, headers=headers)

    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
    assert changed.status_code == (304 if known == "*" else 200)
    assert changed.headers["ETag"] != tag


@pytest.mark.parametrize("known", ["", '"x"', "x", "W/", '"*"'])
def test_what_the_client_does_not_have_is_200(
    client: TestClient, task_in: TaskIn, known: str
) -> None:
    path = f"/api/tasks/{task_in('COMPLETED')}"

    assert client.get(path, headers={"If-None-Match": known}).status_code == 200


@pytest.mark.parametrize("status", STATUSES)
def test_a_task_says_when_to_ask_again_while_it_is_not_final(
    client: TestClient, task_in: TaskIn, status: str
) -> None:
    response = client.get(f"/api/tasks/{task_in(status)}")

    assert ("Retry-After" in response.headers) == (status in ("PENDING", "PROCESSING"))


# --- many -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "changed"),
    [
        ("cancel", ["PENDING", "PROCESSING"]),
        ("retry", ["FAILED", "CANCELLED"]),
        ("delete", ["PENDING", "COMPLETED", "FAILED", "CANCELLED"]),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_an_action_on_ids_tells_what_it_changed_and_skipped(
    app: FastAPI, act: Act, task_in: TaskIn, action: str, changed: list[str], dry_run: bool
) -> None:
    database = app.state.runtime().database
    ids = [task_in(status) for status in STATUSES]
    before = [rows(database, Task, task_id) for task_id in ids]

    response = act(action, task_ids=[*ids, UNKNOWN.upper()], dry_run=dry_run)

    skipped = dict.fromkeys({*STATUSES, "unknown"} - {*changed}, 1)
    expected = {"count": len(changed), "skipped": skipped, "next": None}
    assert response.json() == {"action": action, "dry_run": dry_run, **expected}
    differs = [rows(database, Task, i) != row for i, row in zip(ids, before, strict=True)]
    assert differs == [status in changed and not dry_run for status in STATUSES]


def test_an_action_on_a_filter_takes_what_fits_and_is_open_to_it(
    client: TestClient, act: Act, task_in: TaskIn
) -> None:
    failed, done = task_in("FAILED", "a report"), task_in("COMPLETED", "a report")
    other = task_in("FAILED", "another")
    chosen = {"q": "REPORT", "type": ["simulate"], "created_after": "2020-01-01T00:00:00Z"}

    counted = act("retry", filter=chosen, dry_run=True).json()
    result = act("retry", filter=chosen).json()

    assert (counted["count"], result["count"], result["next"]) == (1, 1, None)
    statuses = [status_of(client, task_id) for task_id in (failed, done, other)]
    assert statuses == ["PENDING", "COMPLETED", "FAILED"]


@pytest.mark.parametrize("copies", [1, 200, 998])
@pytest.mark.parametrize("action", ["cancel", "delete"])
def test_a_task_that_is_named_several_times_counts_once(
    act: Act, task_in: TaskIn, action: str, copies: int
) -> None:
    task_id = task_in("PENDING")

    result = act(action, task_ids=[task_id.upper(), UNKNOWN, *[task_id] * copies])

    assert (result.json()["count"], result.json()["skipped"]) == (1, {"unknown": 1})


def test_a_running_task_is_told_once(app: FastAPI, act: Act, task_in: TaskIn) -> None:
    task_id = task_in("PROCESSING")

    first, second = (act("cancel", task_ids=[task_id]).json() for _ in range(2))

    assert (first["count"], first["skipped"]) == (1, {})
    assert (second["count"], second["skipped"]) == (0, {"told": 1})
    assert rows(app.state.runtime().database, Task, task_id)[0].cancel_requested


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filter": {}}, "filter"),
        ({}, ""),
        ({"filter": {"status": ["FAILED"]}, "task_ids": [UNKNOWN]}, ""),
        ({"task_ids": []}, "task_ids"),
        ({"task_ids": [UNKNOWN] * 1001}, "task_ids"),
        ({"task_ids": [UNKNOWN, "nothing"]}, "task_ids.1"),
        ({"filter": {"status": ["DONE"]}}, "filter.status.0"),
        ({"filter": {"statuz": ["FAILED"]}}, "filter.statuz"),
        ({"filter": {"q": " "}}, "filter.q"),
        ({"task_ids": [UNKNOWN], "dry_run": "true"}, "dry_run"),
        ({"task_ids": [UNKNOWN], "action": "repeat"}, "action"),
    ],
)
def test_a_choice_that_is_unclear_is_400_and_changes_nothing(
    client: TestClient, task_in: TaskIn, body: dict[str, Any], field: str
) -> None:
    task_id = task_in("PENDING")

    response = client.post("/api/tasks/actions", json={"action": "delete", **body})

    assert response.status_code == 400
    assert fields(response) == [field]
    assert status_of(client, task_id) == "PENDING"


# --- on a server, and with a relay ----------------------------------------------------------------


class FakeRelay:
    """Remembers what it was handed."""

    def __init__(self) -> None:
        self.sweeps = 0

    def hand(self, messages: Sequence[Message]) -> None:
        pass

    def sweep_soon(self) -> None:
        self.sweeps += 1


def test_on_a_server_a_task_begins_anew_and_is_deleted(real_database: Database) -> None:
    app = create_app(Settings(database_url=os.environ["TEST_DATABASE_URL"], broker_url=""))
    client = TestClient(app, raise_server_exceptions=False)
    submitted = client.post("/api/tasks", json={"title": "t", "description": "d"}).json()

    begins_anew(real_database, client, submitted["task_id"], "FAILED")

    chosen = {"action": "delete", "task_ids": [submitted["task_id"], UNKNOWN]}
    result = client.post("/api/tasks/actions", json=chosen).json()
    assert (result["count"], result["skipped"]) == (1, {"unknown": 1})
    assert status_of(client, submitted["task_id"]) == "404"
    app.state.close()


@pytest.mark.parametrize("old_promise", [True, False])
@pytest.mark.parametrize("in_bulk", [True, False])
def test_a_retry_promises_its_delivery_anew_and_has_it_sent_at_once(
    real_database: Database, old_promise: bool, in_bulk: bool
) -> None:
    relay = FakeRelay()
    tasks = TaskService(real_database, Catalogue(real_database), relay)
    task_id = asyncio.run(tasks.submit(Submission("t", "d", None, priority="high"))).task_id
    put(real_database, task_id, "FAILED", run_at=LONG_AGO)
    lost = update(Outbox).values(due_at=LONG_AGO, handed=False) if old_promise else delete(Outbox)
    real_database.write(lambda connection: connection.execute(lost))

    if in_bulk:
        bulk = BulkService(real_database, tasks, promise_delivery=True)
        bulk.act_on(Action.RETRY, [task_id], dry_run=False)
    else:
        tasks.act(Action.RETRY, task_id)

    run_at = rows(real_database, Task, task_id)[0].run_at
    assert rows(real_database, Outbox, task_id) == [(task_id, run_at, False)]
    assert relay.sweeps == 1
    assert run_at > LONG_AGO
