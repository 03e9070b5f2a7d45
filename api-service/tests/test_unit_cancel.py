"""Cancelling: what it does to a task in each status."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import update

from src.models.tables import Task

Submit = Callable[..., httpx2.Response]


@pytest.fixture
def task_in(app: FastAPI, client: TestClient, submit: Submit) -> Callable[[str], str]:
    """Submit a task and put it into a status as a worker would; return its path."""

    def put(status: str) -> str:
        path = submit().headers["Location"]
        task = client.get(path).json()
        change = update(Task).where(Task.id == task["task_id"]).values(status=status)
        app.state.runtime().database.write(lambda connection: connection.execute(change))
        return str(path)

    return put


def flag(app: FastAPI, path: str) -> bool:
    query = Task.__table__.select().where(Task.id == path.rpartition("/")[2])
    row: Any = app.state.runtime().database.read(lambda c: c.execute(query).mappings().one())
    return bool(row["cancel_requested"])


def test_a_waiting_task_is_cancelled_at_once(client: TestClient, submit: Submit) -> None:
    path = submit().headers["Location"]

    response = client.post(f"{path}/cancel")

    assert response.status_code == 200
    assert "Retry-After" not in response.headers
    task = response.json()
    assert task["status"] == "CANCELLED"
    assert task["completed_at"] == task["updated_at"]
    assert task == client.get(path).json()


def test_a_running_task_is_asked_to_stop(
    app: FastAPI, client: TestClient, task_in: Callable[[str], str]
) -> None:
    path = task_in("PROCESSING")

    response = client.post(f"{path}/cancel")

    assert response.status_code == 202
    assert response.headers["Retry-After"] == "1"
    assert response.json()["status"] == "PROCESSING"
    assert flag(app, path)
    assert client.post(f"{path}/cancel").json() == response.json()


def test_asking_again_changes_nothing(client: TestClient, submit: Submit) -> None:
    path = submit().headers["Location"]
    first = client.post(f"{path}/cancel")

    again = client.post(f"{path}/cancel")

    assert (again.status_code, again.json()) == (200, first.json())


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED"])
def test_a_task_that_is_over_cannot_be_cancelled(
    app: FastAPI, client: TestClient, task_in: Callable[[str], str], status: str
) -> None:
    path = task_in(status)

    response = client.post(f"{path}/cancel")

    assert response.status_code == 409
    detail = f"There is nothing to cancel: the task is {status} already."
    assert response.json()["detail"].startswith(detail)
    assert response.json()["instance"] == f"{path}/cancel"
    assert client.get(path).json()["status"] == status
    assert not flag(app, path)


@pytest.mark.parametrize("task_id", ["01931f6e-8a37-7c31-b1f5-3f0c2a9d7e10", "nothing", "%00"])
def test_an_unknown_task_cannot_be_cancelled(client: TestClient, task_id: str) -> None:
    assert client.post(f"/api/tasks/{task_id}/cancel").status_code == 404
