"""The statements of the relay on a real MySQL or MariaDB, where locks are what matters."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from pymysql.cursors import Cursor  # type: ignore[import-untyped]
from sqlalchemy import delete, text, update
from sqlalchemy.exc import IntegrityError

from src.db.database import Database
from src.models.tables import Outbox, Task
from src.prepared import run_together
from src.services.new_tasks import NewTask, Submission, insert_tasks
from src.services.outbox import delete_handed, delete_promises, lock_due, new_promises


def _store(database: Database, count: int, *, overdue_seconds: float = 0) -> list[str]:
    """Store tasks whose outbox rows nobody was handed."""
    ids = [f"00000000-0000-7000-8000-{number:012d}" for number in range(count)]
    tasks = [NewTask(task_id, Submission("t", "d", None), 1) for task_id in ids]
    database.write(lambda connection: insert_tasks(connection, tasks, promise_delivery=True))
    with database.engine.begin() as connection:
        connection.execute(
            text("UPDATE outbox SET handed = 0, due_at = due_at - INTERVAL :seconds SECOND"),
            {"seconds": overdue_seconds},
        )
    return ids


def _left(database: Database) -> int:
    with database.engine.begin() as connection:
        return int(connection.scalar(text("SELECT COUNT(*) FROM outbox")) or 0)


def test_a_task_and_its_promise_are_stored_together_or_not_at_all(real_database: Database) -> None:
    task = NewTask("00000000-0000-7000-8000-000000000001", Submission("t", "d", None), 1)
    with real_database.engine.begin() as connection:
        connection.execute(text("INSERT INTO outbox VALUES (:id, NOW(3), 0)"), {"id": task.task_id})

    with pytest.raises(IntegrityError, match="outbox"):
        real_database.write(
            lambda connection: insert_tasks(connection, [task], promise_delivery=True)
        )

    with real_database.engine.begin() as connection:
        assert connection.scalar(text("SELECT COUNT(*) FROM tasks")) == 0


def test_two_relays_share_the_due_rows_and_do_not_deadlock(real_database: Database) -> None:
    for _ in range(10):
        _store(real_database, 40)

        def relay(_number: int) -> int:
            sent = 0
            while True:
                with real_database.engine.begin() as connection:
                    promises = lock_due(connection, 5).promises
                    delete_promises(connection, promises)
                if not promises:
                    return sent
                sent += len(promises)

        with ThreadPoolExecutor(2) as pool:
            assert sum(pool.map(relay, range(2))) == 40
        assert _left(real_database) == 0
        with real_database.engine.begin() as connection:
            connection.execute(text("DELETE FROM tasks"))


def test_deleting_touches_no_row_that_somebody_else_has_locked(real_database: Database) -> None:
    _store(real_database, 6)

    with real_database.engine.begin() as first:
        held = lock_due(first, 3).promises
        with real_database.engine.begin() as second:
            others = lock_due(second, 10).promises
            delete_promises(second, others)

    assert len(held) == 3
    assert len(others) == 3
    assert _left(real_database) == 3


def test_a_promise_made_anew_meanwhile_is_kept(real_database: Database) -> None:
    [task_id] = _store(real_database, 1)
    with real_database.engine.begin() as connection:
        [promise] = lock_due(connection, 1).promises
    later = promise.due_at + timedelta(seconds=60)
    with real_database.engine.begin() as connection:
        connection.execute(update(Outbox).values(due_at=later))

    real_database.write(lambda connection: delete_promises(connection, [promise]))

    assert promise.task_id == task_id
    assert _left(real_database) == 1


def test_what_a_relay_was_handed_is_left_to_it_until_it_is_overdue(real_database: Database) -> None:
    _store(real_database, 1)
    for overdue, expected in ((4, 0), (6, 1)):
        with real_database.engine.begin() as connection:
            connection.execute(
                text("UPDATE outbox SET handed = 1, due_at = NOW(3) - INTERVAL :s SECOND"),
                {"s": overdue},
            )
            assert len(lock_due(connection, 10).messages) == expected


def test_a_task_that_needs_no_message_any_more_is_told_apart(real_database: Database) -> None:
    [task_id] = _store(real_database, 1)
    with real_database.engine.begin() as connection:
        connection.execute(update(Task).values(status="CANCELLED"))

        due = lock_due(connection, 10)

    assert due.messages == []
    assert [promise.task_id for promise in due.kept(sent=[])] == [task_id]


def test_the_promises_of_what_was_not_sent_stay(real_database: Database) -> None:
    sent, not_sent = _store(real_database, 2)
    with real_database.engine.begin() as connection:
        due = lock_due(connection, 10)

        delete_promises(connection, due.kept({sent}))

    with real_database.engine.begin() as connection:
        assert [promise.task_id for promise in lock_due(connection, 10).promises] == [not_sent]


def test_a_promise_is_due_when_its_task_is(real_database: Database) -> None:
    _store(real_database, 3)

    with real_database.engine.begin() as connection:
        alike = "SELECT COUNT(*) FROM outbox o JOIN tasks t ON t.id = o.task_id AND due_at = run_at"
        assert connection.scalar(text(alike)) == 3


def test_the_longest_due_come_by_the_index_without_a_sort(real_database: Database) -> None:
    _store(real_database, 300, overdue_seconds=60)

    with real_database.engine.begin() as connection, _plans() as plans:
        lock_due(connection, 200)

    [plan] = [row for row in plans if row["table"] == "outbox"]
    assert plan["key"] == "outbox_due"
    assert "filesort" not in (plan["Extra"] or "")


def test_the_delete_reads_the_outbox_by_its_key(real_database: Database) -> None:
    _store(real_database, 6)

    with real_database.engine.begin() as connection:
        promises = lock_due(connection, 3).promises
        with _plans() as plans:
            delete_promises(connection, promises)
            delete_handed(connection, [promise.task_id for promise in promises])

    of_outbox = [(plan["type"], plan["key"]) for plan in plans if plan["table"] == "o"]
    assert of_outbox == [("eq_ref", "PRIMARY")] * 2


def test_new_promises_read_the_tasks_by_their_key(real_database: Database) -> None:
    ids = _store(real_database, 6)

    with real_database.engine.begin() as connection:
        connection.execute(delete(Outbox))
        with _plans() as plans:
            run_together(connection, new_promises(ids))

    [plan] = [row for row in plans if row["table"] == "tasks"]
    assert (plan["type"], plan["key"]) == ("range", "PRIMARY")


@contextmanager
def _plans() -> Iterator[list[dict[str, Any]]]:
    """Collect the plan of each statement, explained just before the driver runs it."""
    plans: list[dict[str, Any]] = []
    execute = Cursor.execute

    def explain(cursor: Any, statement: str, parameters: Any = None) -> Any:
        # What goes together in one round trip is explained one by one.
        for one in statement.removesuffix(";\nCOMMIT").split(";\n"):
            execute(cursor, f"EXPLAIN FORMAT=TRADITIONAL {one}", parameters)
            names = [column[0] for column in cursor.description]
            plans.extend(dict(zip(names, row, strict=True)) for row in cursor.fetchall())
        return execute(cursor, statement, parameters)

    Cursor.execute = explain
    try:
        yield plans
    finally:
        Cursor.execute = execute
