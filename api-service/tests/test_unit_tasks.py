"""Validation, creation and errors of tasks, against a real database in this process."""

import json
import re
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from conftest import fields
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

Submit = Callable[..., httpx2.Response]

PROBLEM = {"type", "title", "status", "detail", "instance", "request_id"}
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def stored(app: FastAPI) -> int:
    count = text("SELECT COUNT(*) FROM tasks")
    return int(app.state.runtime().database.read(lambda connection: connection.scalar(count)))


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


# --- creation -------------------------------------------------------------------------------------


def test_a_submission_is_answered_with_202_and_exactly_two_keys(submit: Submit) -> None:
    response = submit()

    body = response.json()
    assert response.status_code == 202
    assert set(body) == {"task_id", "message"}
    assert body["message"] == "Task submitted successfully"
    assert UUID7.fullmatch(body["task_id"])
    assert response.headers["Location"] == f"/api/tasks/{body['task_id']}"
    assert response.headers["Retry-After"] == "1"


def test_a_new_task_is_pending_and_shows_its_times_in_utc(
    client: TestClient, submit: Submit
) -> None:
    task = client.get(submit().headers["Location"]).json()

    assert list(task)[:8] == [
        "task_id",
        "title",
        "description",
        "status",
        "metadata",
        "created_at",
        "updated_at",
        "completed_at",
    ]
    assert (task["status"], task["metadata"], task["completed_at"]) == ("PENDING", None, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", task["created_at"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", task["run_at"])


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"a": [1, 2.5, -0.25, True, None, "x"], "b": {"c": {}}},
        {"max": 2**64 - 1, "min": -(2**63), "large": 1e308},
        {"ключ": "значение", "emoji": "👩‍🚀", "": "empty key"},
        {"priority": 7, "simulate": "yes"},
        {"priority": ["high"], "simulate": {"seconds": "long", "fail_attempts": {}}},
        nested(20),
        {"text": "x" * 60_000},
    ],
)
def test_metadata_comes_back_equal(
    client: TestClient, submit: Submit, metadata: dict[str, Any] | None
) -> None:
    response = submit(metadata=metadata)

    assert response.status_code == 202, response.text
    assert client.get(response.headers["Location"]).json()["metadata"] == metadata


@pytest.mark.parametrize(
    "title",
    [
        "x",
        "x" * 255,
        "界" * 255,
        "👩‍🚀 emoji",
        "مرحبا ‮abc",
        "quotes ' \" ` \\",
        "'; DROP TABLE tasks; --",
        "<script>alert(1)</script>",
        "  spaces around  ",
        "tab\tand\nnewline",
        "zero\u200bwidth",
    ],
)
def test_titles_come_back_character_for_character(
    client: TestClient, submit: Submit, title: str
) -> None:
    response = submit(title=title, description=title)

    task = client.get(response.headers["Location"]).json()
    assert (task["title"], task["description"]) == (title, title)


@pytest.mark.parametrize(
    ("metadata", "priority"),
    [
        ({"priority": "high"}, "high"),
        ({"priority": "low"}, "low"),
        ({"priority": "HIGH"}, "normal"),
        ({}, "normal"),
        (None, "normal"),
    ],
)
def test_metadata_priority_means_what_it_says(
    client: TestClient, submit: Submit, metadata: dict[str, Any] | None, priority: str
) -> None:
    location = submit(metadata=metadata).headers["Location"]

    assert client.get(location).json()["priority"] == priority


@pytest.mark.parametrize("metadata", [None, {"priority": "high"}])
def test_a_priority_of_its_own_goes_before_the_one_in_the_metadata(
    client: TestClient, submit: Submit, metadata: dict[str, Any] | None
) -> None:
    location = submit(priority="low", metadata=metadata).headers["Location"]

    assert client.get(location).json()["priority"] == "low"


def test_the_options_of_a_submission_are_shown_again(client: TestClient, submit: Submit) -> None:
    options = {"type": "simulate", "priority": "high", "max_attempts": 7, "timeout_seconds": 90}

    task = client.get(submit(**options).headers["Location"]).json()

    assert {name: task[name] for name in options} == options


def test_options_that_are_null_are_as_if_absent(client: TestClient, submit: Submit) -> None:
    options = dict.fromkeys(("type", "priority", "max_attempts", "timeout_seconds"))

    task = client.get(submit(**options).headers["Location"]).json()

    shown = {name: task[name] for name in options}
    assert shown == {**options, "type": "simulate", "priority": "normal"}


def test_a_task_is_found_under_its_id_in_upper_case(client: TestClient, submit: Submit) -> None:
    task_id = submit().json()["task_id"]

    assert client.get(f"/api/tasks/{task_id.upper()}").json()["task_id"] == task_id


# --- validation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""),
        ("title", " \t\n"),
        ("title", "\u3000\u00a0"),
        ("title", "x" * 256),
        ("title", 5),
        ("title", None),
        ("title", ["x"]),
        ("title", "nul\x00"),
        ("description", ""),
        ("description", "   "),
        ("description", "x" * 65_536),
        ("description", "界" * 21_846),
        ("description", None),
        ("description", "nul\x00"),
        ("metadata", []),
        ("metadata", "text"),
        ("metadata", 1),
        ("metadata", {"text": "x" * 65_536}),
        ("metadata", nested(21)),
        ("metadata", {"n": 2**64}),
        ("metadata", {"n": -(2**63) - 1}),
        ("metadata", {"nul": "\x00"}),
        ("metadata", {"nul\x00": 1}),
        ("type", ""),
        ("type", "x" * 65),
        ("type", 7),
        ("priority", "urgent"),
        ("priority", 0),
        ("max_attempts", 0),
        ("max_attempts", 1001),
        ("max_attempts", True),
        ("max_attempts", "3"),
        ("timeout_seconds", 0),
        ("timeout_seconds", 604_801),
        ("timeout_seconds", 1.5),
    ],
)
def test_an_invalid_field_is_400_and_named(
    app: FastAPI, submit: Submit, field: str, value: object
) -> None:
    response = submit(**{field: value})

    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert fields(response) == [field]
    assert response.json()["errors"][0]["message"]
    assert stored(app) == 0


@pytest.mark.parametrize(
    "raw",
    [
        '{"n": NaN}',
        '{"n": Infinity}',
        '{"n": -Infinity}',
        '{"n": 1e999}',
        '{"s": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"n": ' + "9" * 400 + "}",
    ],
)
def test_what_json_allows_and_no_database_keeps_is_400(
    app: FastAPI, client: TestClient, raw: str
) -> None:
    body = f'{{"title": "t", "description": "d", "metadata": {raw}}}'

    response = client.post("/api/tasks", content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == 400
    assert fields(response) == ["metadata"]
    assert stored(app) == 0


@pytest.mark.parametrize("field", ["title", "description"])
def test_a_lone_surrogate_is_400_and_not_echoed(client: TestClient, field: str) -> None:
    body = json.dumps({"title": "t", "description": "d", field: "bad \ud800"})

    response = client.post("/api/tasks", content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == 400
    assert fields(response) == [field]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"title": "x",}',
        b"\xff\xfe\x00",
        b"nul",
        b"[1, 2]",
        b'"text"',
        b"5",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"n": ' + b"9" * 5_000 + b"}",
    ],
)
def test_a_body_that_is_no_json_object_is_400(
    app: FastAPI, client: TestClient, body: bytes
) -> None:
    response = client.post("/api/tasks", content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == 400, response.text
    assert set(response.json()) >= PROBLEM
    assert stored(app) == 0


def test_missing_fields_are_named(client: TestClient) -> None:
    response = client.post("/api/tasks", json={})

    assert response.status_code == 400
    assert fields(response) == ["title", "description"]


def test_an_unknown_field_is_400_with_the_nearest_known_one(submit: Submit) -> None:
    response = submit(descripton="x")

    assert fields(response) == ["descripton"]
    assert "'description'" in response.json()["errors"][0]["message"]


def test_an_error_holds_nothing_of_the_input(submit: Submit) -> None:
    response = submit(title="secret-" * 60, metadata="secret-too")

    assert response.status_code == 400
    assert "secret" not in response.text


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""],
)
def test_a_body_of_another_type_is_415_and_told_the_header(
    client: TestClient, content_type: str
) -> None:
    response = client.post(
        "/api/tasks", content=b'{"title": "t"}', headers={"Content-Type": content_type}
    )

    assert response.status_code == 415
    assert "Content-Type: application/json" in response.json()["detail"]


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_413(client: TestClient, declared: bool) -> None:
    chunks = [b'{"title": "', b"x" * 600_000, b"x" * 600_000, b'"}']

    response = client.post(
        "/api/tasks",
        content=b"".join(chunks) if declared else iter(chunks),
        headers={"Content-Type": "application/json"},
    )

    assert response.status_code == 413
    assert "MAX_BODY_BYTES" in response.json()["detail"]


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "task_id",
    [
        "01931f6e-8a37-7c31-b1f5-3f0c2a9d7e10",
        "1",
        "not-a-uuid",
        "01931f6e8a377c31b1f53f0c2a9d7e10",
        "{01931f6e-8a37-7c31-b1f5-3f0c2a9d7e10}",
        "%00",
        "' OR 1=1 --",
        "x" * 5_000,
    ],
)
def test_an_unknown_or_malformed_id_is_404_of_one_shape(client: TestClient, task_id: str) -> None:
    response = client.get(f"/api/tasks/{task_id}")

    assert response.status_code == 404
    assert set(response.json()) == PROBLEM
    assert response.headers["content-type"] == "application/problem+json"


def test_a_malformed_id_is_404_before_any_sql(app: FastAPI, client: TestClient) -> None:
    def fail() -> None:
        raise AssertionError("the database was asked")

    app.state.runtime().database.read = fail

    assert client.get("/api/tasks/not-a-uuid").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("POST", "/api/nothing", 404),
        ("PUT", "/api/tasks", 405),
        ("PATCH", "/api/tasks/01931f6e-8a37-7c31-b1f5-3f0c2a9d7e10", 405),
        ("POST", "/health/live", 405),
    ],
)
def test_unknown_routes_and_methods_are_problems_too(
    client: TestClient, method: str, path: str, status: int
) -> None:
    response = client.request(method, path)

    problem = response.json()
    assert (response.status_code, problem["status"]) == (status, status)
    assert set(problem) == PROBLEM
    assert problem["instance"] == path
    assert ("allow" in response.headers) == (status == 405)


def test_a_defect_is_500_without_internals(app: FastAPI, client: TestClient) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret internals")

    app.state.runtime().tasks.submit = broken

    response = client.post("/api/tasks", json={"title": "t", "description": "d"})

    assert response.status_code == 500
    assert set(response.json()) == PROBLEM
    assert "secret" not in response.text
    assert response.headers["X-Request-ID"] == response.json()["request_id"]


def test_a_request_id_is_taken_over_and_a_hostile_one_is_not(client: TestClient) -> None:
    taken = client.get("/health/live", headers={"X-Request-ID": "order-42/a"})
    hostile = client.get("/health/live", headers={"X-Request-ID": "a b\t<x>"})

    assert taken.headers["X-Request-ID"] == "order-42/a"
    assert re.fullmatch(r"[0-9a-f-]{36}", hostile.headers["X-Request-ID"])
