"""API keys: who may do what on every route, and what is told to whom."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as HttpScope

from src.api.access import Access
from src.config import Settings, SettingsError, load_settings
from src.keys import Scope, find_key, new_key, parse_keys
from src.main import create_app

SERVICE = Path(__file__).resolve().parents[1]
TASK_ID = "01931f6e-8a37-7c31-b1f5-3f0c2a9d7e10"
HASH = "ab" * 32

KEYS = {scope: new_key(f"the-{scope}", scope) for scope in Scope}

#: What each operation takes. A new one must be put here by somebody who thought about it.
NEEDED = {
    "submitTask": "submit",
    "submitTasks": "submit",
    "listTasks": "read",
    "getTask": "read",
    "listAttempts": "read",
    "explainTask": "read",
    "getStats": "read",
    "listWorkers": "read",
    "listTaskTypes": "read",
    "watchTask": "read",
    "watchTasks": "read",
    "cancelTask": "admin",
    "retryTask": "admin",
    "deleteTask": "admin",
    "actOnTasks": "admin",
    "sendWebhook": "admin",
    "getLiveness": None,
    "getReadiness": None,
}
#: What is open and in no description.
OPEN = ["/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css", "/health/live"]


@pytest.fixture
def locked(settings: Settings) -> Iterator[TestClient]:
    """An API that asks for keys, without one."""
    keys = tuple(known for _, known in KEYS.values())
    app = create_app(settings.model_copy(update={"api_keys": keys}))
    yield TestClient(app, raise_server_exceptions=False)
    app.state.close()


def operations(client: TestClient) -> list[tuple[str, str, dict[str, Any]]]:
    paths = client.get("/openapi.json").json()["paths"]
    return [
        (method.upper(), path, operation)
        for path, item in paths.items()
        for method, operation in item.items()
    ]


def test_every_key_does_on_every_route_what_its_scope_says(locked: TestClient) -> None:
    described = operations(locked)
    assert {operation["operationId"] for _, _, operation in described} == set(NEEDED)

    for method, path, operation in described:
        if path == "/api/events":
            # Has no end; its own test looks at the refusals.
            continue
        needed = NEEDED[operation["operationId"]]
        url = path.format(task_id=TASK_ID)
        for key, expected in [(None, 401), ("wrong", 401), *_by_scope(needed)]:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            status = locked.request(method, url, headers=headers, json={}).status_code
            if needed is not None and expected:
                assert status == expected, (method, path, expected)
            else:
                assert status not in (401, 403), (method, path)


def _by_scope(needed: str | None) -> list[tuple[str, int]]:
    """Return each key, and the status that refuses it; 0 where it may pass."""
    ranks = [None, "read", "submit", "admin"]
    return [
        (key, 0 if ranks.index(scope) >= ranks.index(needed) else 403)
        for scope, (key, _) in KEYS.items()
    ]


def test_the_stream_of_all_tasks_is_not_for_strangers(locked: TestClient) -> None:
    assert locked.get("/api/events").status_code == 401
    assert locked.get("/api/events", headers={"X-API-Key": "wrong"}).status_code == 401


@pytest.mark.parametrize("path", OPEN)
def test_what_holds_no_data_is_open(locked: TestClient, path: str) -> None:
    assert locked.get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/api/tasks"), ("POST", "/api/tasks/"), ("POST", "/api/new"), ("OPTIONS", "/api")],
)
def test_what_nobody_thought_of_takes_the_most(locked: TestClient, method: str, path: str) -> None:
    headers = {"X-API-Key": KEYS[Scope.SUBMIT][0]}

    assert locked.request(method, path).status_code == 401
    assert locked.request(method, path, headers=headers).status_code == 403


def test_a_prefix_of_a_proxy_opens_nothing(settings: Settings) -> None:
    keys = tuple(known for _, known in KEYS.values())
    app = create_app(settings.model_copy(update={"api_keys": keys}))
    client = TestClient(app, root_path="/queue")

    assert client.get("/queue/api/tasks").status_code == 401
    assert client.get("/queue/docs").status_code == 200
    app.state.close()


def test_a_refusal_is_a_problem_that_tells_what_to_do(locked: TestClient) -> None:
    missing, wrong = (
        locked.get("/api/tasks", headers=headers) for headers in ({}, {"X-API-Key": "tq_wrong"})
    )
    low = locked.post("/api/tasks", headers={"X-API-Key": KEYS[Scope.READ][0]})

    assert [r.headers["WWW-Authenticate"] for r in (missing, wrong, low)] == [
        "Bearer",
        'Bearer error="invalid_token"',
        'Bearer error="insufficient_scope", scope="submit"',
    ]
    assert {r.headers["content-type"] for r in (missing, wrong, low)} == {
        "application/problem+json"
    }
    assert "Authorization: Bearer KEY" in missing.json()["detail"]
    assert "tq_wrong" not in wrong.text
    assert low.json()["detail"] == "The key 'the-read' has the scope read; this needs submit."
    assert low.json()["request_id"] == low.headers["X-Request-ID"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {key}"},
        {"Authorization": "bearer  {key} "},
        {"X-API-Key": "{key}"},
        {"Authorization": "Basic dXNlcjpwYXNz", "X-API-Key": "{key}"},
    ],
)
def test_a_key_comes_in_either_header(locked: TestClient, headers: dict[str, str]) -> None:
    key, _ = KEYS[Scope.READ]
    written = {name: value.format(key=key) for name, value in headers.items()}

    assert locked.get("/api/tasks", headers=written).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "{key}"},
        {"Authorization": "Basic {key}"},
        {"Authorization": "Bearer {key}x"},
        {"Authorization": "Bearer x{key}"},
        {"X-API-Key": "{hash}"},
        {"X-API-Key": ""},
        {"X-API-Key": "é"},
        {"Cookie": "X-API-Key={key}"},
    ],
)
def test_nothing_else_is_a_key(locked: TestClient, headers: dict[str, str]) -> None:
    key, known = KEYS[Scope.ADMIN]
    written = {
        name.encode(): value.format(key=key, hash=known.digest.hex()).encode()
        for name, value in headers.items()
    }

    assert locked.get("/api/tasks", headers=written).status_code == 401


def test_a_key_in_the_query_is_none(locked: TestClient) -> None:
    key, _ = KEYS[Scope.ADMIN]

    answer = locked.get("/api/tasks", params={"api_key": key, "access_token": key})

    assert answer.status_code == 401


def test_the_name_of_the_key_is_on_the_task_and_in_the_log(locked: TestClient) -> None:
    key, _ = KEYS[Scope.SUBMIT]
    headers = {"Authorization": f"Bearer {key}"}
    task = {"title": "t", "description": "d"}

    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as events:
        plain = locked.post("/api/tasks", json=task, headers=headers).json()["task_id"]
        keyed = locked.post(
            "/api/tasks", json=task, headers={**headers, "Idempotency-Key": "k"}
        ).json()["task_id"]
        batch = locked.post("/api/tasks/batch", json={"tasks": [task]}, headers=headers).json()
        locked.app.state.answers.tell()  # type: ignore[attr-defined]

    answered = [event for event in events if event["event"] == "answered"]
    assert [event["key_name"] for event in answered] == ["the-submit"] * 3
    assert key not in str(events)
    for task_id in (plain, keyed, *batch["task_ids"]):
        shown = locked.get(f"/api/tasks/{task_id}", headers=headers).json()
        assert shown["submitted_by"] == "the-submit"
    listed = locked.get("/api/tasks", headers=headers).json()["tasks"]
    assert {task["submitted_by"] for task in listed} == {"the-submit"}


def test_a_stranger_is_refused_before_the_body_is_read(locked: TestClient) -> None:
    answer = locked.post("/api/tasks", content=b"x" * 2_000_000)

    assert answer.status_code == 401


def test_without_keys_everything_is_open(client: TestClient) -> None:
    created = client.post("/api/tasks", json={"title": "t", "description": "d"})

    assert created.status_code == 202
    assert client.get(created.headers["Location"]).json()["submitted_by"] is None
    operation = client.get("/openapi.json").json()["paths"]["/api/tasks"]["post"]
    assert operation["security"] == [{}, {"bearer": ["submit"]}, {"header": ["submit"]}]


def test_swagger_can_send_a_key_and_keeps_it(locked: TestClient) -> None:
    description = locked.get("/openapi.json").json()
    schemes = description["components"]["securitySchemes"]

    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert (schemes["header"]["in"], schemes["header"]["name"]) == ("header", "X-API-Key")
    assert '"persistAuthorization": true' in locked.get("/docs").text
    for _, path, operation in operations(locked):
        needed = NEEDED[operation["operationId"]]
        expected = [{"bearer": [needed]}, {"header": [needed]}] if needed else None
        assert operation.get("security") == expected, path
        assert ("401" in operation["responses"]) is (needed is not None)


# --- the setting ----------------------------------------------------------------------------------


def test_entries_are_read_from_one_line_or_many() -> None:
    (_, first), (_, second) = new_key("a", Scope.READ), new_key("b", Scope.ADMIN)
    expected = (first, second)

    assert parse_keys(f"{first.entry()},{second.entry()}") == expected
    assert (
        parse_keys(f"\n # ours\n{first.entry()} # until May\n\n {second.entry()} ,\n") == expected
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("tq_secret", "entry 1 is not name:scope:hash"),
        (f"a:read:{HASH},a:secret", "entry 2 is not name:scope:hash"),
        (f"a:write:{HASH}", "entry 1: the scope must be one of read, submit, admin"),
        (f"a b:read:{HASH}", "entry 1: a name is"),
        (f":read:{HASH}", "entry 1: a name is"),
        ("a:read:tq_secret", "entry 1: the hash must be 64 hexadecimal digits"),
        (f"a:read:{HASH},b:admin:{HASH}", "two entries have the same hash"),
        (" # secret", "holds no entry"),
    ],
)
def test_a_bad_setting_is_told_without_what_it_holds(
    monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    monkeypatch.setenv("API_KEYS", value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value).startswith("API_KEYS: ")
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert HASH not in str(caught.value)


def test_any_setting_may_be_a_file_and_a_variable_goes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, known = new_key("ann", Scope.READ)
    (tmp_path / "api_keys").write_text(f"{known.entry()}\n")
    (tmp_path / "max_body_bytes").write_text("2048\n")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("API_KEYS", "")
    monkeypatch.setenv("MAX_BODY_BYTES", "4096")

    settings = load_settings()

    assert settings.api_keys == (known,)
    assert settings.max_body_bytes == 4096


def test_a_folder_in_place_of_a_file_does_not_let_everybody_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "api_keys").mkdir()
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))

    # As a service runs: there a warning is only printed.
    refused = pytest.raises(SettingsError, match=r"SECRETS_DIR: .*api_keys")
    with warnings.catch_warnings(action="ignore"), refused:
        load_settings()


def test_a_folder_that_is_named_and_not_there_does_not_let_everybody_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "mistyped"))

    with pytest.raises(SettingsError, match=r"SECRETS_DIR: .*mistyped is no folder"):
        load_settings()


def test_an_empty_file_does_not_let_everybody_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "api_keys").write_text("\n")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))

    with pytest.raises(SettingsError, match="API_KEYS: holds no entry"):
        load_settings()


def test_the_command_prints_a_key_and_the_entry_that_knows_it() -> None:
    ended = _python("-m", "src.keys", "reports", "submit")

    key, entry = (line.split(": ")[1] for line in ended.stdout.splitlines())
    [known] = parse_keys(entry)
    assert (known.name, known.scope) == ("reports", Scope.SUBMIT)
    assert find_key([known], key.encode()) == known
    assert len(key) > 40
    assert _python("-m", "src.keys", "a:b", "read").returncode == 2
    assert _python("-m", "src.keys", "a", "write").returncode == 2


@pytest.mark.parametrize(
    ("host", "keys", "is_warned"),
    [("0.0.0.0", "", True), ("127.0.0.1", "", False), ("0.0.0.0", f"a:read:{HASH}", False)],  # noqa: S104
)
def test_an_open_api_that_others_may_reach_says_so(host: str, keys: str, is_warned: bool) -> None:
    code = "import src.main; src.main.app"

    ended = _python("-c", code, API_HOST=host, API_KEYS=keys)

    assert ended.returncode == 0
    assert ("no API_KEYS" in ended.stderr) is is_warned


def _python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=SERVICE,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )


# --- what is passed on ----------------------------------------------------------------------------


def test_what_is_no_request_passes_untouched() -> None:
    seen: list[str] = []

    async def inner(scope: HttpScope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    app: ASGIApp = Access(inner, [KEYS[Scope.READ][1]])
    coroutine = app({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        coroutine.send(None)  # type: ignore[attr-defined]

    assert seen == ["lifespan"]


def test_a_key_is_never_in_the_description(locked: TestClient) -> None:
    text = json.dumps(locked.get("/openapi.json").json())

    assert all(key not in text and known.digest.hex() not in text for key, known in KEYS.values())
