"""What is done twice without anybody wanting it, and what is done in several goes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from conftest import fields
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from src.db.database import Database
from src.models.tables import Outbox, Task
from src.services.new_tasks import NewTask, Submission, insert_tasks

Submit = Callable[..., httpx2.Response]


@pytest.fixture
def forget_answers(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, the answer to each first commit is lost, and the work is done again."""
    database: Database = app.state.runtime().database
    write = database.write

    def twice(work: Callable[[Any], Any]) -> Any:
        write(work)
        return write(work)

    return lambda: monkeypatch.setattr(database, "write", twice)


def test_a_submission_whose_commit_was_not_answered_is_stored_once(
    client: TestClient, submit: Submit, forget_answers: Callable[[], None]
) -> None:
    forget_answers()

    assert submit().status_code == 202

    assert len(client.get("/api/tasks").json()["tasks"]) == 1


def test_a_retry_or_delete_whose_commit_was_not_answered_has_worked(
    client: TestClient, submit: Submit, forget_answers: Callable[[], None]
) -> None:
    path = submit().headers["Location"]
    client.post(f"{path}/cancel")
    forget_answers()

    assert client.post(f"{path}/retry").status_code == 202
    assert client.delete(path).status_code == 204
    assert client.delete(path).status_code == 404


def test_what_an_action_did_before_its_answer_was_lost_counts(
    client: TestClient, submit: Submit, forget_answers: Callable[[], None]
) -> None:
    ids = [submit().json()["task_id"] for _ in range(3)]
    forget_answers()

    for action in ("cancel", "retry", "delete"):
        answer = client.post("/api/tasks/actions", json={"action": action, "task_ids": ids})
        assert (answer.json()["count"], answer.json()["skipped"]) == (3, {})


def test_an_action_on_many_goes_on_where_it_stopped(
    client: TestClient, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.services.bulk.BATCH", 2)
    monkeypatch.setattr("src.services.bulk.MAX_TASKS", 2)
    for _ in range(5):
        submit()
    wanted: dict[str, Any] = {"action": "cancel", "filter": {"status": ["PENDING"]}}

    counts = []
    while True:
        answer = client.post("/api/tasks/actions", json=wanted).json()
        counts.append(answer["count"])
        if answer["next"] is None:
            break
        wanted["cursor"] = answer["next"]

    assert counts == [2, 2, 1]


def test_two_keys_in_one_request_are_refused(client: TestClient) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    body = {"title": "A", "description": "B"}

    response = client.post("/api/tasks", json=body, headers=headers)

    assert fields(response) == ["Idempotency-Key"]


def test_an_answer_names_fifty_errors_and_says_how_many_there_are(submit: Submit) -> None:
    response = submit(**{f"unknown{n}": n for n in range(60)})

    assert len(fields(response)) == 50
    assert "(59 more, the first 50 are in errors)" in response.json()["detail"]


def test_the_message_of_a_later_task_is_for_a_relays_sweep(real_database: Database) -> None:
    ids = [f"00000000-0000-7000-8000-{number:012d}" for number in range(2)]
    wishes = [Submission("t", "d", None), Submission("t", "d", None, delay=timedelta(minutes=1))]
    tasks = [NewTask(task_id, wish, 1) for task_id, wish in zip(ids, wishes, strict=True)]

    due = real_database.write(lambda c: insert_tasks(c, tasks, promise_delivery=True))

    query = select(Outbox.task_id, Outbox.handed).order_by(Outbox.task_id)
    rows = real_database.read(lambda connection: connection.execute(query).all())
    assert due == {ids[0]}
    assert [tuple(row) for row in rows] == [(ids[0], True), (ids[1], False)]


def test_tasks_that_set_different_columns_are_stored_together(real_database: Database) -> None:
    ids = [f"00000000-0000-7000-8000-{number:012d}" for number in range(3)]
    wishes = [
        Submission("t", "d", None),
        Submission("t", "d", {"n": 1}, max_attempts=7),
        Submission("t", "d", None, timeout_seconds=9),
    ]
    tasks = [NewTask(task_id, wish, 1) for task_id, wish in zip(ids, wishes, strict=True)]

    real_database.write(lambda c: insert_tasks(c, tasks, promise_delivery=False))

    query = select(Task.details, Task.max_attempts, Task.timeout_seconds).order_by(Task.id)
    rows = real_database.read(lambda connection: connection.execute(query).all())
    assert [tuple(row) for row in rows] == [
        (None, None, None),
        ({"n": 1}, 7, None),
        (None, None, 9),
    ]
