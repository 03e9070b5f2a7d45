"""What the watcher finds, and what a stream makes of it."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.sse import ServerSentEvent
from fastapi.testclient import TestClient
from sqlalchemy import update

from src.api.events import _follow
from src.api.views import TaskSummary
from src.db.database import Database
from src.db.dialect import now
from src.models.tables import Task
from src.services.changes import MAX_GAP, GapTooLong, Window
from src.services.watcher import MAX_PENDING, Watch

Submit = Callable[..., httpx2.Response]


@pytest.fixture
def database(app: FastAPI) -> Database:
    database: Database = app.state.runtime().database
    return database


def seen(database: Database, window: Window) -> list[str]:
    """Look once; return the ids of what changed."""
    look = database.read(window.look)
    window.note(look)
    return [row["id"] for row in look.rows]


def touch(database: Database, task_id: str, at: datetime) -> None:
    """Change a task as a transaction does that has this time, whenever it commits."""
    change = update(Task).where(Task.id == task_id).values(updated_at=at, progress=1)
    database.write(lambda connection: connection.execute(change))


def test_each_change_is_found_once(database: Database, submit: Submit) -> None:
    window = Window()
    first, second = submit().json()["task_id"], submit().json()["task_id"]

    assert sorted(seen(database, window)) == [first, second]
    assert seen(database, window) == []
    touch(database, first, database.read(now) + timedelta(milliseconds=5))
    assert seen(database, window) == [first]


def test_a_change_that_was_committed_late_is_found(database: Database, submit: Submit) -> None:
    window = Window()
    task_id = submit().json()["task_id"]
    seen(database, window)

    touch(database, task_id, database.read(now) - timedelta(seconds=4))

    assert seen(database, window) == [task_id]


def test_what_is_more_than_one_look_hands_on_comes_with_the_next(
    database: Database, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.services.changes.MAX_CHANGES", 2)
    window = Window()
    ids = [submit().json()["task_id"] for _ in range(5)]

    looks = [seen(database, window) for _ in range(4)]

    assert [len(look) for look in looks] == [2, 2, 1, 0]
    assert sorted(task_id for look in looks for task_id in look) == ids
    assert not window.has_more()


def test_a_look_that_is_not_noted_is_found_again(database: Database, submit: Submit) -> None:
    window = Window()
    task_id = submit().json()["task_id"]

    database.read(window.look)

    assert seen(database, window) == [task_id]


def test_nothing_is_told_one_by_one_after_too_long_a_gap(database: Database) -> None:
    window = Window()
    look = database.read(window.look)
    window.note(type(look)(look.at - MAX_GAP - timedelta(seconds=1), [], {}, {}))

    with pytest.raises(GapTooLong):
        database.read(window.look)


def test_only_the_last_event_of_a_batch_has_an_id(client: TestClient, submit: Submit) -> None:
    for _ in range(3):
        submit()
    rows = client.app.state.runtime().database.read(  # type: ignore[attr-defined]
        lambda connection: connection.execute(Task.__table__.select()).mappings().all()
    )

    async def follow() -> list[ServerSentEvent]:
        watch = Watch(None)
        watch.put(rows, rows[0]["created_at"])
        watch.put(ended="stopping")
        return [event async for event in _follow(watch, TaskSummary)]

    events = [event for event in asyncio.run(follow()) if event.event]
    assert [event.event for event in events] == ["task", "task", "task", "end"]
    assert [event.id is not None for event in events] == [False, False, True, False]


def test_a_client_that_takes_nothing_is_given_up() -> None:
    async def overrun() -> Watch:
        watch = Watch(None)
        rows: Any = [{"id": str(n)} for n in range(MAX_PENDING + 1)]
        watch.put(rows)
        watch.put(rows[:1])
        return watch

    watch = asyncio.run(overrun())
    assert (watch.ended, watch.pending) == ("slow", {})
