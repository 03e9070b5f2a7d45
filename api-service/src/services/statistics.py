"""The state of the whole in numbers, at a cost that does not grow with the table."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import cast

from sqlalchemy import Connection, RowMapping, Select, func, literal, select, union_all
from sqlalchemy.sql.elements import ColumnElement

from src.contract import DEFAULT_TYPE, PRIORITIES, Status
from src.db.database import Database
from src.db.dialect import now
from src.models.tables import Task, TaskType
from src.services.listing import MAX_CLASS, NO_WEBHOOK
from src.services.minutes import Minute, read_minutes

#: Tasks of one kind are counted up to here; beyond it is "10,000 or more".
MAX_COUNT = 10_000
#: Types that are counted; further ones are left out.
MAX_TYPES = 50
#: Finished tasks, and failed ones, that times and errors are taken from: the latest.
LATEST = 1_000
#: Minutes of the series.
MINUTES = 180


@dataclass(frozen=True)
class Times:
    """Milliseconds that half and 95 % of the latest tasks did not exceed; None without any."""

    p50: int | None
    p95: int | None


@dataclass(frozen=True)
class FailureGroup:
    """Of the latest failed tasks those of a type that failed in the same way."""

    type: str
    error: str
    count: int
    latest_at: datetime
    latest_task_id: str


@dataclass(frozen=True)
class Statistics:
    """Counts above ``MAX_COUNT`` are cut off there."""

    now: datetime
    by_status: dict[str, int]
    by_type: dict[str, int]
    by_priority: dict[str, int]
    oldest_due_at: datetime | None
    minutes: list[Minute]
    finished: int
    wait: Times
    run: Times
    failures: list[FailureGroup]


def read_statistics(database: Database) -> Statistics:
    """Read everything.

    Raises:
        DatabaseUnavailable: nobody could be asked.
    """
    read = database.read
    instant = read(now)
    by_status, by_priority = read(_count_statuses)
    failed = read(partial(_latest, status=Status.FAILED))
    completed = read(partial(_latest, status=Status.COMPLETED))
    finished = sorted(completed + failed, key=_ended_at, reverse=True)[:LATEST]
    return Statistics(
        now=instant,
        by_status=by_status,
        by_type=read(_count_types),
        by_priority=by_priority,
        oldest_due_at=read(lambda connection: _oldest_due(connection, instant)),
        minutes=read_minutes(database, instant, MINUTES),
        finished=len(finished),
        wait=_times(finished, "run_at", "started_at"),
        run=_times(finished, "started_at", "completed_at"),
        failures=_group(failed),
    )


def _count_statuses(connection: Connection) -> tuple[dict[str, int], dict[str, int]]:
    kinds = [
        _capped(
            f"{status} {name}",
            "tasks_listed",
            Task.status == status,
            Task.priority == stored,
            NO_WEBHOOK,
        )
        for status in Status
        for name, stored in PRIORITIES.items()
    ]
    by_status, by_priority = dict.fromkeys(Status, 0), dict.fromkeys(PRIORITIES, 0)
    for row in connection.execute(union_all(*kinds)):
        status, name = row.kind.split()
        by_status[Status(status)] = min(by_status[Status(status)] + row.count_, MAX_COUNT)
        by_priority[name] = min(by_priority[name] + row.count_, MAX_COUNT)
    return {str(status): count for status, count in by_status.items()}, by_priority


def _count_types(connection: Connection) -> dict[str, int]:
    names = connection.scalars(select(TaskType.name).order_by(TaskType.name).limit(MAX_TYPES))
    types = sorted({DEFAULT_TYPE, *names})
    kinds = [_capped(name, "tasks_typed", Task.type == name) for name in types]
    return {row.kind: row.count_ for row in connection.execute(union_all(*kinds))}


def _capped(kind: str, index: str, *conditions: ColumnElement[bool]) -> Select[str, int]:
    """Count along an index, up to ``MAX_COUNT``."""
    some = (
        select(Task.id)
        .with_hint(Task, f"FORCE INDEX ({index})", "mysql")
        .where(*conditions)
        .limit(MAX_COUNT)
        .subquery()
    )
    return select(literal(kind).label("kind"), func.count().label("count_")).select_from(some)


def _oldest_due(connection: Connection, instant: datetime) -> datetime | None:
    """Return since when the task that waits longest has been due."""
    firsts = [
        select(Task.run_at)
        .with_hint(Task, "FORCE INDEX (tasks_due)", "mysql")
        .where(
            Task.status == Status.PENDING,
            Task.priority == stored,
            Task.run_at <= instant,
            NO_WEBHOOK,
        )
        .order_by(Task.run_at)
        .limit(1)
        for stored in PRIORITIES.values()
    ]
    return min((at for query in firsts if (at := connection.scalar(query))), default=None)


def _latest(connection: Connection, status: Status) -> list[RowMapping]:
    """Return the latest tasks that ended so, the last one first."""
    query = (
        select(Task.id, Task.type, Task.error, Task.run_at, Task.started_at, Task.completed_at)
        .with_hint(Task, "FORCE INDEX (tasks_changed)", "mysql")
        .where(Task.status == status, NO_WEBHOOK)
        .order_by(Task.updated_at.desc())
        .limit(LATEST)
    )
    return list(connection.execute(query).mappings())


def _ended_at(row: RowMapping) -> datetime:
    return cast(datetime, row["completed_at"])


def _times(rows: Sequence[RowMapping], begin: str, end: str) -> Times:
    spans = sorted(
        round((row[end] - row[begin]).total_seconds() * 1000)
        for row in rows
        if row[begin] and row[end]
    )
    return Times(_quantile(spans, 0.5), _quantile(spans, 0.95))


def _quantile(ordered: Sequence[int], part: float) -> int | None:
    """Return the smallest value that so large a part does not exceed."""
    return ordered[max(math.ceil(part * len(ordered)) - 1, 0)] if ordered else None


def _group(failed: Sequence[RowMapping]) -> list[FailureGroup]:
    """Group by type and the error's class, which is what stands before its first colon."""
    latest: dict[tuple[str, str], RowMapping] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for row in failed:
        kind = (row["type"], (row["error"] or "unknown").partition(":")[0][:MAX_CLASS])
        counts[kind] += 1
        latest.setdefault(kind, row)
    return [
        FailureGroup(*kind, count, latest[kind]["completed_at"], latest[kind]["id"])
        for kind, count in counts.most_common()
    ]
