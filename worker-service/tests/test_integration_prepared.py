"""The statements that the driver runs by itself: they are the same, and their errors, too."""

from typing import Any

import pytest
from conftest import Bench
from pymysql.connections import Connection as Driver  # type: ignore[import-untyped]
from pymysql.err import OperationalError as Refused  # type: ignore[import-untyped]
from sqlalchemy import Text, bindparam, insert, select, type_coerce, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from src.prepared import Prepared, commit_with, run_together
from src.store.tables import OUTBOX, TASKS

READ = Prepared(
    select(TASKS.c.id, TASKS.c.title, type_coerce(TASKS.c.details, Text), TASKS.c.attempt)
    .where(TASKS.c.id.in_(bindparam("ids", expanding=True)), TASKS.c.status == "PENDING")
    .order_by(TASKS.c.id)
)
RENAME = Prepared(update(TASKS).where(TASKS.c.id == bindparam("task")).values(title="new"))
PROMISE = Prepared(
    insert(OUTBOX).values(
        {name: bindparam(name) for name in ("task_id", "due_at", "handed")},
    )
)


def title(bench: Bench, task: str) -> str:
    """Read it on another connection than the one used last, which sees its own words."""
    with bench.engine.connect() as _last, bench.engine.connect() as connection:
        return str(connection.scalar(select(TASKS.c.title).where(TASKS.c.id == task)))


def test_lists_constants_and_odd_values_reach_the_server(bench: Bench) -> None:
    odd = "%s 'é' \\ %(ids)s ; --"
    ids = sorted([bench.add(title=odd, details={"a": [1, odd]}), bench.add(title=odd)])
    bench.running(title=odd)

    with bench.engine.begin() as connection:
        rows = READ.rows(connection, {"ids": [*ids, "%s' --"]})

    assert [row[0] for row in rows] == ids
    assert {row[1] for row in rows} == {odd}
    assert all(isinstance(row[2], str | None) for row in rows)


def test_it_counts_what_it_finds_and_not_only_what_it_changes(bench: Bench) -> None:
    task = bench.add(title="new")

    with bench.engine.begin() as connection:
        counts = [RENAME.count(connection, {"task": name}) for name in (task, task, "none")]

    assert counts == [1, 1, 0]


def test_many_rows_are_inserted_at_once(bench: Bench) -> None:
    rows = [{"task_id": f"{n}", "due_at": bench.now(), "handed": n % 2 == 0} for n in range(300)]

    with bench.engine.begin() as connection:
        PROMISE.count(connection, rows)

    assert {(row.task_id, row.handed) for row in bench.rows(OUTBOX)} == {
        (row["task_id"], row["handed"]) for row in rows
    }


def test_nothing_stays_of_what_is_rolled_back(bench: Bench) -> None:
    task = bench.add(title="old")

    with bench.engine.connect() as connection, connection.begin() as transaction:
        RENAME.count(connection, {"task": task})
        transaction.rollback()

    assert bench.task(task).title == "old"


def test_statements_run_together(bench: Bench) -> None:
    task, evil = bench.add(title="old"), "'; DELETE FROM tasks; -- %s"
    row = {"task_id": evil, "due_at": bench.now(), "handed": False}

    with bench.engine.begin() as connection:
        steps = (RENAME, {"task": task}), (PROMISE, [row, row | {"task_id": "next"}])
        run_together(connection, *steps)

    assert bench.task(task).title == "new"
    assert [row.task_id for row in bench.rows(OUTBOX)] == [evil, "next"]


@pytest.mark.real_server
def test_it_is_one_round_trip(bench: Bench, monkeypatch: Any) -> None:
    sent = []
    write = Driver._write_bytes

    def noted(driver: Any, data: bytes) -> None:
        sent.append(data)
        write(driver, data)

    with bench.engine.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql("SELECT 1")
        monkeypatch.setattr(Driver, "_write_bytes", noted)
        run_together(connection, (RENAME, {"task": "one"}), (RENAME, {"task": "two"}))
        assert len(sent) == 1
        commit_with(connection, RENAME, {"task": "three"})
        transaction.commit()

    assert len(sent) == 2


@pytest.mark.real_server
def test_the_last_statement_is_committed_with_it(bench: Bench) -> None:
    task = bench.add(title="old")

    with bench.engine.connect() as connection, connection.begin() as transaction:
        assert commit_with(connection, RENAME, {"task": task}) == 1
        # Too late.
        transaction.rollback()

    assert bench.task(task).title == "new"


@pytest.mark.real_server
def test_a_server_that_says_it_has_not_committed_is_told_again(bench: Bench) -> None:
    task = bench.add(title="old")

    with bench.engine.begin() as connection:
        driver: Any = connection.connection.dbapi_connection
        query = driver.query
        driver.query = lambda sql, unbuffered=False: query(
            sql.removesuffix(";\nCOMMIT"), unbuffered
        )
        commit_with(connection, RENAME, {"task": task})
        driver.query = query

    assert title(bench, task) == "new"


def test_nothing_stays_if_the_second_of_them_is_refused(bench: Bench) -> None:
    task = bench.add(title="old")
    row = {"task_id": "twice", "due_at": bench.now(), "handed": False}

    with pytest.raises(IntegrityError, match="outbox"), bench.engine.begin() as connection:
        run_together(connection, (RENAME, {"task": task}), (PROMISE, [row, row]))

    assert bench.task(task).title == "old"
    assert not bench.rows(OUTBOX)
    with bench.engine.begin() as connection:
        # Nor does anybody hold its lock.
        assert RENAME.count(connection, {"task": task}) == 1


def test_what_comes_after_them_is_committed_as_well(bench: Bench) -> None:
    first, second = bench.add(title="old"), bench.add(title="old")

    with bench.engine.begin() as connection:
        commit_with(connection, RENAME, {"task": first})
        RENAME.count(connection, {"task": second})

    assert title(bench, first) == title(bench, second) == "new"


@pytest.mark.real_server
def test_outside_of_a_transaction_it_is_refused(bench: Bench) -> None:
    with bench.engine.connect() as connection, pytest.raises(AssertionError):
        RENAME.count(connection, {"task": "none"})


def test_a_duplicate_is_sqlalchemys_error_and_tells_no_value(bench: Bench) -> None:
    row: dict[str, Any] = {"task_id": "secret", "due_at": bench.now(), "handed": False}

    with bench.engine.connect() as connection, connection.begin():
        PROMISE.count(connection, [row])
        with pytest.raises(IntegrityError) as caught:
            PROMISE.count(connection, [row])

    assert caught.value.hide_parameters
    assert not caught.value.connection_invalidated
    assert "INSERT INTO outbox" in str(caught.value)


@pytest.mark.real_server
def test_a_lost_connection_is_given_up_and_the_next_one_works(bench: Bench) -> None:
    task = bench.add()

    with bench.engine.connect() as connection, connection.begin() as transaction:
        number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
        with bench.engine.begin() as other:
            other.exec_driver_sql(f"KILL {number}")
        with pytest.raises(OperationalError) as caught:
            RENAME.count(connection, {"task": task})
        transaction.rollback()

    assert caught.value.connection_invalidated
    with bench.engine.begin() as connection:
        assert RENAME.count(connection, {"task": task}) == 1


@pytest.mark.real_server
def test_a_server_that_lets_nobody_write_is_left(bench: Bench, monkeypatch: Any) -> None:
    def refuse(*_: Any) -> None:
        raise Refused(1290, "read-only")

    with bench.engine.connect() as connection, connection.begin() as transaction:
        monkeypatch.setattr("pymysql.cursors.Cursor.execute", refuse)
        with pytest.raises(DBAPIError) as caught:
            RENAME.count(connection, {"task": "t"})
        assert connection.invalidated
        transaction.rollback()

    assert caught.value.connection_invalidated
