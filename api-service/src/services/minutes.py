"""How many tasks came and ended in each minute.

A minute that is over is counted once, from the tasks themselves, and kept in ``task_minutes``;
so nothing is added to the path of a task, and retention may delete tasks without changing the
past. The latest minutes are counted anew each time.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from src.contract import PRIORITIES, Status
from src.db.database import Database, DatabaseUnavailable
from src.models.tables import Task, TaskMinute
from src.services.listing import CLOCK_SKEW, NO_WEBHOOK, first_id

log = structlog.get_logger(__name__)

MINUTE = timedelta(minutes=1)
_ENDS = {"completed": Status.COMPLETED, "failed": Status.FAILED, "cancelled": Status.CANCELLED}
#: A minute is kept once it has been over for so long: by then what began in it is committed.
SETTLED_AFTER = CLOCK_SKEW + timedelta(seconds=20)
#: Seconds that one request spends on counting minutes that nobody asked for before; it begins
#: with the latest one, and the next request goes on.
BUDGET_SECONDS = 0.3


@dataclass(frozen=True)
class Minute:
    """``minute`` is its beginning, UTC."""

    minute: datetime
    submitted: int
    completed: int
    failed: int
    cancelled: int


def read_minutes(database: Database, instant: datetime, minutes: int) -> list[Minute]:
    """Return the latest minutes that are counted, oldest first; ``instant``: database's now.

    Those that are missing were not counted within the budget; ask again.
    """
    current = instant.replace(second=0, microsecond=0)
    wanted = [current - n * MINUTE for n in range(minutes)]
    kept = database.read(lambda connection: _kept(connection, wanted[-1]))
    deadline = time.monotonic() + BUDGET_SECONDS
    counted = []
    for minute in wanted:
        if minute in kept:
            continue
        if time.monotonic() > deadline:
            break
        counted.append(database.read(partial(_count, minute=minute)))
    settled = [m for m in counted if m.minute + MINUTE + SETTLED_AFTER <= instant]
    if settled:
        _keep(database, settled)
    return sorted([*kept.values(), *counted], key=lambda minute: minute.minute)


def _kept(connection: Connection, since: datetime) -> dict[datetime, Minute]:
    query = select(*TaskMinute.__table__.columns).where(TaskMinute.minute >= since)
    return {row.minute: Minute(*row) for row in connection.execute(query)}


def _count(connection: Connection, minute: datetime) -> Minute:
    ended = {name: _ended(connection, status, minute) for name, status in _ENDS.items()}
    return Minute(minute, _submitted(connection, minute), **ended)


def _ended(connection: Connection, status: Status, minute: datetime) -> int:
    # Nothing changes a final row, so it was changed last when it ended.
    query = (
        select(func.count())
        .select_from(Task)
        .with_hint(Task, "FORCE INDEX (tasks_changed)", "mysql")
        .where(
            Task.status == status,
            Task.updated_at >= minute,
            Task.updated_at < minute + MINUTE,
            NO_WEBHOOK,
        )
    )
    return connection.scalar(query) or 0


def _submitted(connection: Connection, minute: datetime) -> int:
    """Count by the time in the ids, along a narrow index: rows are wide."""
    query = (
        select(func.count())
        .select_from(Task)
        .with_hint(Task, "FORCE INDEX (tasks_listed)", "mysql")
        .where(
            Task.status.in_(list(Status)),
            Task.priority.in_(sorted(PRIORITIES.values())),
            Task.id >= first_id(minute),
            Task.id < first_id(minute + MINUTE),
            NO_WEBHOOK,
        )
    )
    return connection.scalar(query) or 0


def _keep(database: Database, minutes: Sequence[Minute]) -> None:
    """Store what was counted; if that fails it is counted again another time."""

    def work(connection: Connection) -> None:
        # Two processes may count the same minute, to the same result.
        connection.execute(
            delete(TaskMinute).where(TaskMinute.minute.in_([m.minute for m in minutes]))
        )
        connection.execute(insert(TaskMinute), [asdict(minute) for minute in minutes])

    try:
        database.write(work)
    except (DatabaseUnavailable, SQLAlchemyError) as error:
        log.warning("minutes are not kept", reason=type(error).__name__)
