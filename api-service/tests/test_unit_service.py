"""The service around the routes: settings, description, first use, schema."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anyio import BrokenResourceError
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from src.api.answer_log import AnswerLog
from src.api.middleware import RequestContext
from src.config import Settings, SettingsError, load_settings
from src.main import _once, create_app

SERVICE = Path(__file__).resolve().parents[1]
Submit = Callable[..., httpx2.Response]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("API_PORT", "http", ["API_PORT", "'http'", "API_PORT=8000"]),
        ("API_PORT", "70000", ["API_PORT", "'70000'"]),
        ("QUEUE_TYPE", "stream", ["QUEUE_TYPE", "'stream'", "QUEUE_TYPE=classic"]),
        ("DATABASE_URL", "postgresql://u:secret@h/db", ["DATABASE_URL", "mysql+pymysql://"]),
        ("DATABASE_URL", "secret", ["DATABASE_URL"]),
        ("DATABASE_URL", "mysql://u:x@h:secret2/d", ["DATABASE_URL"]),
        ("BROKER_URL", "amqp://u:x@h:secret/", ["BROKER_URL"]),
        ("BROKER_URL", "amqp://u:x@h/?heartbeat=secret", ["BROKER_URL"]),
        ("BROKER_URL", "http://u:secret@h", ["BROKER_URL", "amqp://"]),
        ("BROKER_URL", "amqp://u:secret@h", ["BROKER_URL", "SQLite"]),
        ("MAX_BODY_BYTES", "-1", ["MAX_BODY_BYTES"]),
        ("LOG_FORMAT", "xml", ["LOG_FORMAT", "LOG_FORMAT=text"]),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it_and_keeps_secrets(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: list[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("BROKER_URL", raising=False)
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    line = str(caught.value)
    assert "\n" not in line
    assert all(word in line for word in words)
    assert "secret" not in line


def test_an_empty_setting_is_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "")

    assert load_settings().api_port == 8000


@pytest.mark.parametrize("command", [["-m", "src.main"], ["-m", "uvicorn", "src.main:app"]])
def test_a_bad_setting_stops_the_service_with_that_line(command: list[str]) -> None:
    environment = {"PATH": os.environ["PATH"], "API_PORT": "none"}

    ended = subprocess.run(
        [sys.executable, *command],
        cwd=SERVICE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("api-service: API_PORT: ")
    assert "Traceback" not in ended.stderr


def test_importing_the_application_starts_nothing() -> None:
    code = "import src.main, threading; print(threading.active_count(), 'app' in vars(src.main))"

    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=SERVICE, capture_output=True, text=True, timeout=30
    )

    assert ended.stdout.split() == ["1", "False"]


def test_many_first_requests_at_once_start_it_once(app: FastAPI, submit: Submit) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: submit().status_code, range(32)))
        runtimes = set(pool.map(lambda _: id(app.state.runtime()), range(32)))

    assert answers == [202] * 32
    assert len(runtimes) == 1


def test_what_is_made_on_first_use_is_made_once() -> None:
    made: list[int] = []
    all_there = threading.Barrier(8)

    def make() -> int:
        made.append(1)
        # Held until every thread has asked: without the lock each would make its own.
        threading.Event().wait(0.2)
        return len(made)

    get = _once(make)

    def ask(_number: int) -> int:
        all_there.wait(5)
        return get()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {1}
    assert made == [1]


def test_another_schema_is_refused_with_a_line_to_act_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE tasks (id VARCHAR(36) PRIMARY KEY, title TEXT)"))
    engine.dispose()

    ended = subprocess.run(
        [sys.executable, "-m", "src.main"],
        cwd=SERVICE,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": url, "API_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=30,
    )

    line = ended.stderr.splitlines()[-1]
    assert ended.returncode == 1
    assert "table 'tasks' has no column" in line
    assert "docker compose down --volumes" in line


# --- the description ------------------------------------------------------------------------------


def _operations(client: TestClient) -> list[tuple[str, dict[str, Any]]]:
    paths = client.get("/openapi.json").json()["paths"]
    return [(path, operation) for path, item in paths.items() for operation in item.values()]


def test_every_operation_is_tagged_named_and_tells_its_errors(client: TestClient) -> None:
    names = [operation["operationId"] for _, operation in _operations(client)]

    assert len(names) == len(set(names))
    for path, operation in _operations(client):
        assert operation["tags"], path
        assert operation["operationId"].isidentifier()
        for status, response in operation["responses"].items():
            if status.startswith(("4", "5")):
                example = response["content"]["application/problem+json"]["example"]
                assert example["status"] == int(status), path
            elif status not in ("204", "304"):
                [content] = response["content"].values()
                assert content["schema"], path


def test_the_statuses_of_a_submission_are_described(client: TestClient) -> None:
    [responses] = [
        operation["responses"]
        for _, operation in _operations(client)
        if operation["operationId"] == "submitTask"
    ]

    expected = {"200", "202", "400", "401", "403", "408", "413", "415", "422", "500", "503"}
    assert set(responses) == expected


def test_the_example_of_a_submission_is_accepted_as_it_stands(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    [example] = description["components"]["schemas"]["SubmitTask"]["examples"]

    assert client.post("/api/tasks", json=example).status_code == 202


def test_every_reference_of_the_description_leads_somewhere(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    known = description["components"]["schemas"]

    for part in json.dumps(description).split('"$ref": "#/components/schemas/')[1:]:
        assert part.split('"')[0] in known


def test_the_documentation_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs")

    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert client.get(f"/static-offline-docs/{asset}").status_code == 200


# --- health ---------------------------------------------------------------------------------------


def test_without_a_broker_it_is_ready(client: TestClient) -> None:
    ready = client.get("/health/ready").json()

    assert ready == {"status": "ok", "database": "connected", "broker": "none"}


def test_without_a_database_it_lives_and_is_not_ready(tmp_path: Path) -> None:
    app = create_app(Settings(database_url="mysql://nobody:x@127.0.0.1:1/none", broker_url=""))
    client = TestClient(app, raise_server_exceptions=False)

    assert client.get("/health/live").status_code == 200
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.headers["Retry-After"]
    assert "nobody" not in ready.text
    app.state.close()


# --- limits ---------------------------------------------------------------------------------------


def test_over_the_limit_of_requests_under_way_one_is_told_at_once(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.api.middleware.MAX_IN_FLIGHT", 0)
    client = TestClient(app)

    busy = client.post("/api/tasks", json={"title": "t", "description": "d"})

    assert busy.status_code == 503
    assert busy.headers["Retry-After"]
    assert "under way" in busy.json()["detail"]
    assert client.get("/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("error", "is_told"), [(BrokenResourceError(), False), (ValueError("boo"), True)]
)
def test_a_client_that_leaves_its_stream_is_no_defect(error: Exception, is_told: bool) -> None:
    """As the framework raises it where an event waits for a client that is slow to read."""

    async def stream(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise ExceptionGroup("of a stream", [ExceptionGroup("of its tasks", [error])])

    async def nothing(*_: object) -> None: ...

    scope = {"type": "http", "method": "GET", "path": "/api/events", "headers": []}
    answers = AnswerLog()
    with capture_logs() as logs:
        with nullcontext() if not is_told else pytest.raises(ExceptionGroup):
            asyncio.run(RequestContext(stream, answers)(scope, nothing, nothing))  # type: ignore[arg-type]
        answers.tell()

    assert [line["event"] for line in logs] == (["request broke"] if is_told else []) + ["answered"]
