"""What a relay remembers: when to delete what it sent, and from where to search."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text, update

from src.db.database import Database
from src.db.dialect import now
from src.models.tables import Outbox, Task
from src.services import bookkeeping
from src.services.bookkeeping import SLACK, Floor, Sent
from src.services.new_tasks import NewTask, Submission, insert_tasks
from src.services.outbox import lock_due

SOME_TIME = datetime(2026, 1, 23, 4, 17)  # noqa: DTZ001 - as the columns are


class Clock:
    """Stands in for ``time.monotonic``."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


class FakeDatabase:
    """Counts deletions."""

    def __init__(self) -> None:
        self.deletions = 0

    def write(self, _work: Callable[[Any], Any]) -> None:
        self.deletions += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(bookkeeping, "time", clock)
    return clock


def _id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012d}"


def test_what_was_sent_is_deleted_together_a_moment_later(clock: Clock) -> None:
    sent, database = Sent(), FakeDatabase()
    for number in range(3):
        sent.note([_id(number)])
        sent.delete_if_due(database)  # type: ignore[arg-type]
    assert database.deletions == 0

    clock.at = sent.due_at
    sent.delete_if_due(database)  # type: ignore[arg-type]
    sent.delete_if_due(database)  # type: ignore[arg-type]

    assert database.deletions == 1


def test_what_fills_a_deletion_is_deleted_at_once(clock: Clock) -> None:
    sent, database = Sent(), FakeDatabase()
    sent.note([_id(number) for number in range(250)])

    sent.delete_if_due(database)  # type: ignore[arg-type]

    assert database.deletions == 2
    assert sent.due_at > clock.at + 1000


def _search(database: Database, floor: Floor) -> int:
    """Search as the relay's sweep does; return how many were found."""
    with database.engine.begin() as connection:
        with floor.timed() as lowest:
            due = lock_due(connection, 10, lowest)
        floor.rise(due.read_at)
        return len(due.messages)


def test_a_row_below_the_floor_is_found_by_the_next_search_from_the_start(
    real_database: Database, clock: Clock
) -> None:
    floor = Floor()
    assert _search(real_database, floor) == 0
    task = NewTask(_id(1), Submission("t", "d", None), 1)
    real_database.write(lambda c: insert_tasks(c, [task], promise_delivery=True))
    with real_database.engine.begin() as connection:
        early = now(connection) - 2 * SLACK
        connection.execute(update(Outbox).values(due_at=early, handed=False))
        connection.execute(update(Task).values(run_at=early))

    assert _search(real_database, floor) == 0
    clock.at += bookkeeping.FULL_SECONDS
    assert _search(real_database, floor) == 1


def test_what_is_due_since_the_last_search_is_found(real_database: Database) -> None:
    floor = Floor()
    assert _search(real_database, floor) == 0
    task = NewTask(_id(1), Submission("t", "d", None), 1)
    real_database.write(lambda c: insert_tasks(c, [task], promise_delivery=True))
    with real_database.engine.begin() as connection:
        connection.execute(update(Outbox).values(handed=False))
        # As by a transaction that read the clock before the search and was committed after it.
        connection.execute(text("UPDATE outbox SET due_at = due_at - INTERVAL 8 SECOND"))

    assert _search(real_database, floor) == 1


def test_the_longer_a_search_from_the_start_takes_the_rarer_it_is(clock: Clock) -> None:
    floor = Floor()
    with floor.timed() as lowest:
        assert lowest is None
        clock.at += 1
    floor.rise(SOME_TIME + timedelta(seconds=100))

    clock.at += 99
    with floor.timed() as lowest:
        assert lowest == SOME_TIME + timedelta(seconds=100) - SLACK
    clock.at += 2
    with floor.timed() as lowest:
        assert lowest is None


def test_a_task_given_back_meanwhile_keeps_its_promise(real_database: Database) -> None:
    task = NewTask(_id(1), Submission("t", "d", None), 1)
    due = real_database.write(lambda c: insert_tasks(c, [task], promise_delivery=True))
    sent = Sent()
    sent.note(due)
    with real_database.engine.begin() as connection:
        # As a worker does: due as before, and handed to nobody.
        connection.execute(update(Outbox).values(handed=False))

    sent.delete(real_database)

    with real_database.engine.begin() as connection:
        assert [m.task_id for m in lock_due(connection, 10).messages] == [task.task_id]
