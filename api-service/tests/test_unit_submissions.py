"""When a task is to run, submissions that may be repeated, and many at once."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from conftest import fields
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from src.config import Settings
from src.db.database import Database
from src.main import create_app

Submit = Callable[..., httpx2.Response]

TASK = {"title": "A report", "description": "Collect the figures"}


def stored(database: Database) -> int:
    count = text("SELECT COUNT(*) FROM tasks")
    return int(database.read(lambda connection: connection.scalar(count)) or 0)


def post(client: TestClient, key: str | bytes, **changes: Any) -> httpx2.Response:
    """Submit a valid task under an idempotency key."""
    raw = key.encode() if isinstance(key, str) else key
    return client.post("/api/tasks", json={**TASK, **changes}, headers={b"Idempotency-Key": raw})


def batch(client: TestClient, *tasks: dict[str, Any]) -> httpx2.Response:
    return client.post("/api/tasks/batch", json={"tasks": tasks})


def run_at(client: TestClient, response: httpx2.Response) -> datetime:
    assert response.status_code == 202, response.text
    return datetime.fromisoformat(client.get(response.headers["Location"]).json()["run_at"])


# --- when it runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["Z", "+00:00", "+05:30", "-11:00"])
def test_a_scheduled_task_waits_and_shows_its_time_in_utc(
    client: TestClient, submit: Submit, zone: str
) -> None:
    day = datetime.now(UTC) + timedelta(days=7)
    wanted = f"{day:%Y-%m-%dT%H:%M:%S}.250{zone}"

    location = submit(run_at=wanted).headers["Location"]

    task = client.get(location).json()
    assert (task["status"], task["run_at"][-5:]) == ("PENDING", ".250Z")
    assert datetime.fromisoformat(task["run_at"]) == datetime.fromisoformat(wanted)


@pytest.mark.parametrize(
    "past", ["1970-01-01T00:00:00Z", "2020-02-29T12:00:00+03:00", "0001-01-01T00:00:00+14:00"]
)
def test_a_time_that_has_passed_means_now(client: TestClient, submit: Submit, past: str) -> None:
    now = run_at(client, submit())

    due = run_at(client, submit(run_at=past))

    assert now <= due <= run_at(client, submit())


NAIVE, FAR = "2030-01-01T00:00:00", "9999-12-31T23:59:59Z"
NO_TIMES = ["2030-01-01", "2030-13-01T00:00:00Z", "tomorrow", "1700000000", "", 1_700_000_000, True]


@pytest.mark.parametrize("wrong", [NAIVE, FAR, *NO_TIMES, []])
def test_a_time_that_is_malformed_or_naive_or_too_far_is_400(submit: Submit, wrong: Any) -> None:
    response = submit(run_at=wrong)

    assert response.status_code == 400
    assert fields(response) == ["run_at"]


@pytest.mark.parametrize(("days", "status"), [(365.9, 202), (366.1, 400)])
def test_a_task_is_scheduled_at_most_366_days_ahead(
    submit: Submit, days: float, status: int
) -> None:
    by_time = submit(run_at=(datetime.now(UTC) + timedelta(days=days)).isoformat())
    by_delay = submit(delay_seconds=days * 86_400)

    assert (by_time.status_code, by_delay.status_code) == (status, status)


@pytest.mark.parametrize("delay", [0, 0.25, 90, 366 * 86_400])
def test_a_delay_counts_from_the_submission(client: TestClient, submit: Submit, delay: Any) -> None:
    ahead = timedelta(seconds=delay)
    before = run_at(client, submit())

    due = run_at(client, submit(delay_seconds=delay))

    assert before + ahead <= due <= run_at(client, submit()) + ahead


@pytest.mark.parametrize("wrong", [-1, -0.001, "5", True, False, [], 366 * 86_400 + 1])
def test_a_delay_that_is_no_number_of_seconds_is_400(submit: Submit, wrong: Any) -> None:
    response = submit(delay_seconds=wrong)

    assert response.status_code == 400
    assert fields(response) == ["delay_seconds"]


def test_a_time_and_a_delay_together_are_400(submit: Submit) -> None:
    response = submit(run_at="2020-01-01T00:00:00Z", delay_seconds=0)

    assert response.status_code == 400
    assert "run_at or delay_seconds" in response.json()["detail"]


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 1), (1000, 604_800)])
def test_limits_are_taken_up_to_their_ends(
    client: TestClient, submit: Submit, attempts: int, seconds: int
) -> None:
    response = submit(max_attempts=attempts, timeout_seconds=seconds)

    task = client.get(response.headers["Location"]).json()
    assert (task["max_attempts"], task["timeout_seconds"]) == (attempts, seconds)


# --- the same again -------------------------------------------------------------------------------


def test_the_same_request_again_is_answered_the_same_and_says_so(
    app: FastAPI, client: TestClient
) -> None:
    first, again = post(client, "order-1"), post(client, "order-1")

    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert stored(app.state.runtime().database) == 1


def test_a_quoted_key_is_the_bare_one_and_may_have_255_characters(client: TestClient) -> None:
    key = "k" * 255

    assert post(client, f'"{key}"').json() == post(client, key).json()


ABSENT = dict.fromkeys(("metadata", "type", "priority", "run_at", "delay_seconds"))
ORDERED, REORDERED = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}


@pytest.mark.parametrize(
    ("one", "other"), [({}, ABSENT), ({"metadata": ORDERED}, {"metadata": REORDERED})]
)
def test_what_means_the_same_is_the_same_body(
    client: TestClient, one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, again = post(client, "order-1", **one), post(client, "order-1", **other)

    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()


@pytest.mark.parametrize(
    "changes",
    [{"title": "Another"}, {"metadata": {}}, {"metadata": {"a": None}}, {"delay_seconds": 0}],
)
def test_a_key_with_another_body_is_422_and_stores_nothing(
    app: FastAPI, client: TestClient, changes: dict[str, Any]
) -> None:
    post(client, "order-1")

    response = post(client, "order-1", **changes)

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert "Idempotency-Key" in response.json()["detail"]
    assert stored(app.state.runtime().database) == 1


TOO_LONG = "k" * 256


@pytest.mark.parametrize(
    "key", ["", " ", '"', '""', '" "', '" a"', TOO_LONG, f'"{TOO_LONG}"', "ключ", b"\xe9", "a\tb"]
)
def test_an_invalid_key_is_400_and_stores_nothing(
    app: FastAPI, client: TestClient, key: str | bytes
) -> None:
    response = post(client, key)

    assert response.status_code == 400
    assert fields(response) == ["Idempotency-Key"]
    assert stored(app.state.runtime().database) == 0


def test_the_key_of_a_deleted_task_is_free_again(client: TestClient) -> None:
    first = post(client, "order-1")
    client.delete(first.headers["Location"])

    response = post(client, "order-1", title="Another")

    assert response.status_code == 202
    assert "Idempotency-Replayed" not in response.headers
    assert response.json()["task_id"] != first.json()["task_id"]


def keys_are_told_apart_by_case(client: TestClient, database: Database) -> None:
    answers = [post(client, "Order-A"), post(client, "order-a", title="Another")]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert stored(database) == 2


def equal_requests_at_once_make_one_task(client: TestClient, database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(client, "order-1"), range(8)))

    assert [answer.status_code for answer in answers] == [202] * 8
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert stored(database) == 1


ON_EACH_DATABASE = [keys_are_told_apart_by_case, equal_requests_at_once_make_one_task]


@pytest.mark.parametrize("behaviour", ON_EACH_DATABASE)
def test_on_sqlite(
    app: FastAPI, client: TestClient, behaviour: Callable[[TestClient, Database], None]
) -> None:
    behaviour(client, app.state.runtime().database)


@pytest.mark.parametrize("behaviour", ON_EACH_DATABASE)
def test_on_a_server(
    real_database: Database, behaviour: Callable[[TestClient, Database], None]
) -> None:
    app = create_app(Settings(database_url=os.environ["TEST_DATABASE_URL"], broker_url=""))
    behaviour(TestClient(app, raise_server_exceptions=False), real_database)
    app.state.close()


# --- many at once ---------------------------------------------------------------------------------


def test_a_batch_is_stored_as_a_row_each_in_its_order(app: FastAPI, client: TestClient) -> None:
    titles = [f"Page {number}" for number in range(5)]

    response = batch(client, *[{**TASK, "title": title} for title in titles])

    ids = response.json()["task_ids"]
    assert (response.status_code, len(set(ids))) == (202, 5)
    assert response.json()["message"] == "5 tasks submitted successfully"
    assert [client.get(f"/api/tasks/{task_id}").json()["title"] for task_id in ids] == titles
    assert stored(app.state.runtime().database) == 5


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ({"title": ""}, "tasks.1.title", "blank"),
        ({"type": "unheard_of"}, "tasks.1.type", "unknown type"),
        ({"run_at": "tomorrow"}, "tasks.1.run_at", "RFC 3339"),
        ({"descripton": "x"}, "tasks.1.descripton", "did you mean 'description'?"),
        ({"run_at": "2020-01-01T00:00:00Z", "delay_seconds": 1}, "tasks.1", "not both"),
    ],
)
def test_with_one_invalid_task_a_batch_stores_none_and_names_it(
    app: FastAPI, client: TestClient, wrong: dict[str, Any], field: str, words: str
) -> None:
    response = batch(client, TASK, {**TASK, **wrong}, TASK)

    assert response.status_code == 400
    assert fields(response) == [field]
    assert words in response.json()["errors"][0]["message"]
    assert stored(app.state.runtime().database) == 0


@pytest.mark.parametrize(("count", "status"), [(0, 400), (1, 202), (1000, 202), (1001, 400)])
def test_a_batch_has_1_to_1000_tasks(
    app: FastAPI, client: TestClient, count: int, status: int
) -> None:
    response = batch(client, *[TASK] * count)

    assert response.status_code == status
    assert stored(app.state.runtime().database) == (count if status == 202 else 0)


def test_a_batch_takes_no_key(app: FastAPI, client: TestClient) -> None:
    client.headers["Idempotency-Key"] = "order-1"

    response = batch(client, TASK)

    assert response.status_code == 400
    assert fields(response) == ["Idempotency-Key"]
    assert stored(app.state.runtime().database) == 0
