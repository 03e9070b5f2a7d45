"""The whole way over HTTP: submit, a worker runs it, COMPLETED. Touches its own tasks only."""

import os
import uuid
from typing import Any

import httpx2
from conftest import wait_until

FINAL = {"COMPLETED", "FAILED", "CANCELLED"}
#: Where the stack asks for one: docker compose exec -e STACK_KEY=… api_service pytest
KEY = {"X-API-Key": os.environ.get("STACK_KEY", "")}


def _submit(url: str, **metadata: Any) -> httpx2.Response:
    body = {"title": "Flow test", "description": "Submitted by a test", "metadata": metadata}
    return httpx2.post(f"{url}/api/tasks", json=body, headers=KEY, timeout=10)


def _wait_until_final(url: str, task_id: str) -> dict[str, Any]:
    task: dict[str, Any] = {}

    def final() -> bool:
        answer = httpx2.get(f"{url}/api/tasks/{task_id}", headers=KEY, timeout=10)
        task.update(answer.json())
        return task["status"] in FINAL

    wait_until(final, 60, f"{task_id} to be final")
    return task


def test_a_submitted_task_is_run_by_a_worker_and_completed(stack_url: str) -> None:
    response = _submit(stack_url, simulate={"seconds": 0.5}, owner="tests")

    assert response.status_code == 202
    task_id = response.json()["task_id"]
    assert response.json() == {"task_id": task_id, "message": "Task submitted successfully"}
    assert response.headers["Location"] == f"/api/tasks/{task_id}"
    task = _wait_until_final(stack_url, task_id)
    assert task["status"] == "COMPLETED"
    assert task["metadata"] == {"simulate": {"seconds": 0.5}, "owner": "tests"}
    assert task["created_at"] <= task["completed_at"]
    assert task["attempt"] == 1


def test_an_attempt_that_fails_is_tried_again(stack_url: str) -> None:
    response = _submit(stack_url, simulate={"seconds": 0, "fail_attempts": 1})

    task = _wait_until_final(stack_url, response.json()["task_id"])

    assert (task["status"], task["attempt"], task["errors"]) == ("COMPLETED", 2, 1)


def test_an_unknown_task_is_404(stack_url: str) -> None:
    response = httpx2.get(f"{stack_url}/api/tasks/{uuid.uuid4()}", headers=KEY, timeout=10)

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


def test_the_stack_is_ready(stack_url: str) -> None:
    ready = httpx2.get(f"{stack_url}/health/ready", timeout=10)

    assert (ready.status_code, ready.json()["database"]) == (200, "connected")
