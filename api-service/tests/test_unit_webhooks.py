"""Webhooks as the API has them: asked for, written with a cancel, hidden, sent again."""

import base64
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
from conftest import fields
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from src.api.views import TaskView
from src.config import Settings, SettingsError, load_settings
from src.contract import Status
from src.main import create_app
from src.models.tables import Outbox, Task
from src.services.changes import Window
from src.services.webhooks import write_webhooks
from src.webhooks import new_id, shown

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
URL = "https://shop.example/hooks?x=1"

Post = Callable[..., httpx2.Response]


@pytest.fixture
def app(settings: Settings) -> Iterator[FastAPI]:
    app = create_app(settings.model_copy(update={"webhook_secret": (b"s" * 32,)}))
    yield app
    app.state.close()


def task_id_of(response: httpx2.Response) -> str:
    assert response.status_code == 202, response.text
    return str(response.json()["task_id"])


def rows(app: FastAPI, **columns: Any) -> list[Any]:
    """Return the tasks whose columns are so, in the order of their making."""
    query = select(*Task.__table__.columns).order_by(Task.id)
    for name, value in columns.items():
        query = query.where(getattr(Task, name) == value)
    found: list[Any] = app.state.runtime().database.read(lambda c: list(c.execute(query)))
    return found


def change(app: FastAPI, task_id: str, **columns: Any) -> None:
    statement = update(Task).where(Task.id == task_id).values(columns)
    app.state.runtime().database.write(lambda connection: connection.execute(statement))


def webhooks(app: FastAPI) -> list[Any]:
    return [row._mapping["metadata"] for row in rows(app, type="webhook")]


def told(app: FastAPI) -> list[str]:
    """Return the tasks whose end is told."""
    return [str(webhook["event"]["data"]["task_id"]) for webhook in webhooks(app)]


def complete(app: FastAPI, task_id: str) -> None:
    at = datetime(2026, 1, 23, 4, 17, 34, 120_000)  # noqa: DTZ001 - as the table has it
    change(app, task_id, status=Status.COMPLETED, completed_at=at, attempt=1)


# --- asked for ------------------------------------------------------------------------------------


def test_a_callback_is_stored_and_shown(client: TestClient, submit: Post) -> None:
    answers = [
        submit(callback_url=URL),
        client.post(
            "/api/tasks",
            json={"title": "t", "description": "d", "callback_url": URL},
            headers={"Idempotency-Key": "k"},
        ),
    ]
    batch = [{"title": "t", "description": "d", "callback_url": URL}]
    ids = [task_id_of(answer) for answer in answers]
    ids += client.post("/api/tasks/batch", json={"tasks": batch}).json()["task_ids"]

    assert {client.get(f"/api/tasks/{i}").json()["callback_url"] for i in ids} == {URL}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example/hooks",
        "ftp://shop.example/",
        "https://",
        "https:///hooks",
        "https://user:pass@shop.example/",
        "https://user@shop.example/",
        "https://shop.example\\@evil.example/",
        "https://shop.example/a b",
        "https://shop.example/\n",
        "https://shop.example/" + "x" * 2048,
        "https://shop.example/\ud800",
        7,
    ],
)
def test_what_is_no_url_is_refused(client: TestClient, submit: Post, url: Any) -> None:
    body = '{"title": "t", "description": "d", "callback_url": "https://a.example/\\ud800"}'
    refused = (
        client.post("/api/tasks", content=body, headers={"Content-Type": "application/json"})
        if isinstance(url, str) and "\ud800" in url
        else submit(callback_url=url)
    )

    assert refused.status_code == 400
    assert fields(refused) == ["callback_url"]


def test_where_webhooks_are_off_a_callback_is_refused(settings: Settings) -> None:
    app = create_app(settings)
    client = TestClient(app, raise_server_exceptions=False)
    task = {"title": "t", "description": "d", "callback_url": URL}

    short = client.post("/api/tasks", json=task)
    long = client.post("/api/tasks", json=task, headers={"Idempotency-Key": "k"})
    batch = client.post("/api/tasks/batch", json={"tasks": [{**task, "callback_url": None}, task]})

    assert [r.status_code for r in (short, long, batch)] == [400, 400, 400]
    assert "WEBHOOK_SECRET is not set" in short.json()["detail"]
    assert fields(short) == fields(long) == ["callback_url"]
    assert fields(batch) == ["tasks.1.callback_url"]
    assert rows(app) == []
    app.state.close()


def test_nobody_submits_a_webhook_by_hand(submit: Post) -> None:
    refused = submit(type="webhook", metadata={"url": URL, "id": "x", "event": {}})

    assert refused.status_code == 400
    assert fields(refused) == ["type"]
    assert "callback_url" in refused.json()["detail"]


# --- written with a cancel ------------------------------------------------------------------------


def test_a_cancel_tells_what_get_shows(app: FastAPI, client: TestClient, submit: Post) -> None:
    metadata = {"a": [1, 2.5, None, "é"]}
    task_id = task_id_of(submit(callback_url=URL, metadata=metadata, priority="high"))

    client.post(f"/api/tasks/{task_id}/cancel")
    client.post(f"/api/tasks/{task_id}/cancel")

    [webhook] = webhooks(app)
    assert webhook["url"] == URL
    assert webhook["event"]["type"] == "task.cancelled"
    assert webhook["event"]["data"] == client.get(f"/api/tasks/{task_id}").json()
    ended = rows(app, id=task_id)[0].completed_at
    assert webhook["event"]["timestamp"] == ended.isoformat(timespec="milliseconds") + "Z"


def test_who_asked_for_none_gets_none(app: FastAPI, client: TestClient, submit: Post) -> None:
    task_id = task_id_of(submit())

    client.post(f"/api/tasks/{task_id}/cancel")

    assert webhooks(app) == []


def test_a_running_task_is_told_by_its_worker(
    app: FastAPI, client: TestClient, submit: Post
) -> None:
    task_id = task_id_of(submit(callback_url=URL))
    change(app, task_id, status=Status.PROCESSING, attempt=1)

    assert client.post(f"/api/tasks/{task_id}/cancel").status_code == 202

    assert webhooks(app) == []


def test_of_many_those_are_told_that_really_changed(
    app: FastAPI, client: TestClient, submit: Post
) -> None:
    ids = [task_id_of(submit(callback_url=URL)) for _ in range(4)]
    plain = task_id_of(submit())
    complete(app, ids[0])
    change(app, ids[1], status=Status.PROCESSING)

    client.post(
        "/api/tasks/actions",
        json={"action": "cancel", "filter": {"status": ["PENDING"]}, "dry_run": True},
    )
    assert webhooks(app) == []
    for _ in range(2):
        wanted = {"action": "cancel", "task_ids": [*ids, plain]}
        client.post("/api/tasks/actions", json=wanted)

    assert sorted(told(app)) == sorted(ids[2:])


def test_a_cancel_whose_commit_was_not_answered_tells_once(
    app: FastAPI, client: TestClient, submit: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, many = task_id_of(submit(callback_url=URL)), task_id_of(submit(callback_url=URL))
    database = app.state.runtime().database
    write = database.write

    def twice(work: Callable[[Any], Any]) -> Any:
        write(work)
        return write(work)

    monkeypatch.setattr(database, "write", twice)
    client.post(f"/api/tasks/{one}/cancel")
    client.post("/api/tasks/actions", json={"action": "cancel", "task_ids": [many]})

    assert sorted(told(app)) == sorted([one, many])


def test_a_repeated_task_is_told_of_again_under_another_id(
    app: FastAPI, client: TestClient, submit: Post
) -> None:
    task_id = task_id_of(submit(callback_url=URL))
    client.post(f"/api/tasks/{task_id}/cancel")
    # Two ends are told apart by the millisecond.
    time.sleep(0.002)
    client.post(f"/api/tasks/{task_id}/retry")
    client.post(f"/api/tasks/{task_id}/cancel")

    first, second = webhooks(app)
    assert first["id"] != second["id"]
    assert {first["id"].rpartition("-")[0], second["id"].rpartition("-")[0]} == {task_id}


def test_a_webhook_is_a_task_like_any_other(app: FastAPI, client: TestClient, submit: Post) -> None:
    client.post(f"/api/tasks/{task_id_of(submit(callback_url=URL))}/cancel")
    [row] = rows(app, type="webhook")

    assert client.get(f"/api/tasks/{row.id}").json()["status"] == "PENDING"
    assert client.post(f"/api/tasks/{row.id}/cancel").json()["status"] == "CANCELLED"
    assert len(webhooks(app)) == 1


# --- hidden ---------------------------------------------------------------------------------------


def test_lists_and_counts_leave_webhooks_out_unless_asked(
    app: FastAPI, client: TestClient, submit: Post
) -> None:
    ids = {task_id_of(submit(callback_url=URL)) for _ in range(3)}
    for task_id in ids:
        client.post(f"/api/tasks/{task_id}/cancel")
    hidden = {row.id for row in rows(app, type="webhook")}
    assert len(hidden) == 3

    def listed(**query: Any) -> set[str]:
        answer = client.get("/api/tasks", params=query).json()
        return {task["task_id"] for task in answer["tasks"]}

    assert listed() == ids
    assert listed(status=["PENDING", "CANCELLED"]) == ids
    assert listed(q="report") == ids
    assert listed(priority="normal") == ids
    assert listed(type="webhook") == hidden
    assert listed(type=["webhook", "simulate"]) == hidden | ids
    stats = client.get("/api/stats").json()
    for kind in ("by_status", "by_priority"):
        assert sum(count["count"] for count in stats[kind].values()) == 3
    assert stats["by_status"]["PENDING"]["count"] == 0
    assert sum(minute["submitted"] for minute in stats["minutes"]) == 3
    assert stats["oldest_due_seconds"] is None


def test_what_became_of_webhooks_is_in_no_statistics(
    app: FastAPI, client: TestClient, submit: Post
) -> None:
    ids = [task_id_of(submit(callback_url=URL)) for _ in range(2)]
    for task_id in ids:
        client.post(f"/api/tasks/{task_id}/cancel")
    sent, failed = rows(app, type="webhook")
    ended = {"completed_at": sent.run_at, "updated_at": sent.run_at, "started_at": sent.run_at}
    change(app, sent.id, status=Status.COMPLETED, **ended)
    change(app, failed.id, status=Status.FAILED, error="E: x", **ended)

    stats = client.get("/api/stats").json()

    sums = Counter[str]()
    for minute in stats["minutes"]:
        sums.update({name: minute[name] for name in ("completed", "failed", "cancelled")})
    assert sums == {"completed": 0, "failed": 0, "cancelled": 2}
    assert stats["failures"] == []


def test_streams_leave_webhooks_out(app: FastAPI, client: TestClient, submit: Post) -> None:
    task_id, window = task_id_of(submit(callback_url=URL)), Window()
    read = app.state.runtime().database.read
    window.note(read(window.look))
    client.post(f"/api/tasks/{task_id}/cancel")

    look = read(window.look)

    assert [(row["id"], row["status"]) for row in look.rows] == [(task_id, "CANCELLED")]


def test_what_is_done_to_all_is_not_done_to_webhooks(
    app: FastAPI, client: TestClient, submit: Post
) -> None:
    client.post(f"/api/tasks/{task_id_of(submit(callback_url=URL))}/cancel")
    [row] = rows(app, type="webhook")

    every = {"action": "delete", "filter": {"status": [str(status) for status in Status]}}
    assert client.post("/api/tasks/actions", json=every).json()["count"] == 1
    assert [left.id for left in rows(app)] == [row.id]
    named = {"action": "delete", "filter": {"type": ["webhook"]}}
    assert client.post("/api/tasks/actions", json=named).json()["count"] == 1


# --- sent again -----------------------------------------------------------------------------------


def test_it_is_sent_again_under_the_same_id(app: FastAPI, client: TestClient, submit: Post) -> None:
    task_id = task_id_of(submit(callback_url=URL))
    client.post(f"/api/tasks/{task_id}/cancel")

    again = client.post(f"/api/tasks/{task_id}/webhook")

    first, second = webhooks(app)
    assert again.status_code == 202
    assert again.headers["Location"] == f"/api/tasks/{again.json()['task_id']}"
    assert client.get(again.headers["Location"]).json()["type"] == "webhook"
    assert first == second


def test_what_there_is_nothing_to_tell_of_is_409(
    app: FastAPI, client: TestClient, submit: Post
) -> None:
    waiting, plain = task_id_of(submit(callback_url=URL)), task_id_of(submit())
    complete(app, plain)

    answers = [
        client.post(f"/api/tasks/{task_id}/webhook")
        for task_id in (waiting, plain, str(uuid.uuid4()))
    ]

    assert [answer.status_code for answer in answers] == [409, 409, 404]
    assert "It is PENDING" in answers[0].json()["detail"]
    assert "without a callback_url" in answers[1].json()["detail"]
    assert webhooks(app) == []


def test_where_webhooks_are_off_none_is_sent(
    app: FastAPI, submit: Post, settings: Settings
) -> None:
    task_id = task_id_of(submit(callback_url=URL))
    complete(app, task_id)
    off = create_app(settings)

    answer = TestClient(off).post(f"/api/tasks/{task_id}/webhook")

    assert answer.status_code == 409
    assert "WEBHOOK_SECRET is not set" in answer.json()["detail"]
    off.state.close()


# --- what both services share ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns",
    [
        {"progress": None},
        {"started_at": timedelta(seconds=2), "attempt": 3, "errors": 2, "worker_id": "w"},
        {"result": [1, {"a": None}], "progress": 7, "progress_note": "n", "error": "E: é"},
        {"max_attempts": 5, "timeout_seconds": 9, "submitted_by": "shop", "priority": 2},
    ],
)
def test_a_task_is_shown_as_get_shows_it(
    app: FastAPI, submit: Post, columns: dict[str, Any]
) -> None:
    task_id = task_id_of(submit(callback_url=URL, metadata={"b": 1, "a": {}}))
    complete(app, task_id)
    began = rows(app, id=task_id)[0].run_at
    if "started_at" in columns:
        columns = {**columns, "started_at": began + columns["started_at"]}
    change(app, task_id, **columns)
    [row] = rows(app, id=task_id)

    ours, get = shown(row._mapping), TaskView.of(row._mapping).model_dump(mode="json")

    assert ours == get
    assert list(ours) == list(get)


def test_ids_are_of_version_7_and_in_order() -> None:
    ids = []
    for _ in range(20):
        ids.append(new_id())
        # Their order is that of the milliseconds.
        time.sleep(0.002)

    assert ids == sorted(ids)
    assert {(uuid.UUID(i).version, uuid.UUID(i).variant) for i in ids} == {(7, uuid.RFC_4122)}
    made = (uuid.UUID(ids[-1]).int >> 80) / 1000
    assert abs(made - time.time()) < 10


def test_with_a_broker_its_message_is_promised_to_a_relays_sweep(
    real_database: Any,
) -> None:
    at = datetime(2026, 1, 1)  # noqa: DTZ001
    names = [column.name for column in Task.__table__.columns]
    task = dict.fromkeys(names) | {
        "id": new_id(),
        "title": "t",
        "description": "d",
        "status": Status.CANCELLED,
        "created_at": at,
        "updated_at": at,
        "completed_at": at,
        "run_at": at,
        "priority": 1,
        "callback_url": URL,
    }

    [sent] = real_database.write(
        lambda connection: write_webhooks(connection, [task], at, promise_delivery=True)
    )

    [promise] = real_database.read(lambda c: list(c.execute(select(*Outbox.__table__.columns))))
    assert (promise.task_id, promise.due_at, promise.handed) == (sent, at, False)


def test_a_bad_secret_stops_the_api_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "whsec_c2VjcmV0")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value).startswith("WEBHOOK_SECRET: expected whsec_ and 24 to 64")
    assert "c2VjcmV0" not in str(caught.value)
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    assert load_settings().webhook_secret == (b"s" * 32,)
