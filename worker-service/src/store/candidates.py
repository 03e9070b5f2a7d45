"""Tasks that may be claimed: as read, and the statements that read and claim them."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
    update,
)

from src.contract import Status
from src.decision import Counts
from src.prepared import Prepared, commit_with
from src.store.attempts import Attempt, Fence
from src.store.dialect import Now, Spaced
from src.store.leases import LeaseLost
from src.store.tables import TASKS, WORKERS


class Candidate(NamedTuple):
    """What an attempt needs to know of its task.

    A tuple of ours, since a look into a row by name takes ten times as long.
    """

    id: str
    type: str
    title: str
    description: str
    #: JSON.
    details: str | None
    attempt: int
    errors: int
    crashes: int
    max_attempts: int | None
    timeout_seconds: int | None
    wants_webhook: bool
    #: Read and no condition: a row that is not due must not look like one that is missing.
    is_due: bool

    @classmethod
    def read(cls, row: Sequence[Any]) -> "Candidate":
        """Make one of the columns read."""
        task_id, type_, title, description, details, numbers = row
        attempt, errors, crashes, most, seconds, told, due = numbers.split(" ")
        return cls(
            task_id,
            type_,
            title,
            description,
            details,
            int(attempt),
            int(errors),
            int(crashes),
            int(most) if most else None,
            int(seconds) if seconds else None,
            told == "1",
            due == "1",
        )

    def claimed(self, *, suspect: bool) -> Attempt:
        """Return the attempt that this task's claim begins."""
        return Attempt(
            fence=Fence(self.id, self.attempt + 1),
            type=self.type,
            title=self.title,
            description=self.description,
            details=json.loads(self.details) if self.details else None,
            counts=Counts(self.errors, self.crashes, self.max_attempts),
            timeout_seconds=self.timeout_seconds,
            suspect=suspect,
            wants_webhook=self.wants_webhook,
        )


_COLUMNS = (
    *(TASKS.c[name] for name in ("id", "type", "title", "description")),
    type_coerce(TASKS.c.details, Text),
    # In one column: each takes the driver 5 us an answer and nearly 1 us a row.
    Spaced(
        TASKS.c.attempt,
        TASKS.c.errors,
        TASKS.c.crashes,
        func.coalesce(TASKS.c.max_attempts, literal_column("''")),
        func.coalesce(TASKS.c.timeout_seconds, literal_column("''")),
        TASKS.c.callback_url.is_not(None),
        and_(TASKS.c.status == Status.PENDING, TASKS.c.run_at <= Now()),
    ),
)
#: The lease and the tasks in one round trip: a row for each task that is there, one without a task
#: where none is, and none at all without the lease. By primary key, see ``lock_tasks``.
_LOCK = Prepared(
    select(*_COLUMNS)
    .select_from(WORKERS)
    .outerjoin(TASKS, TASKS.c.id.in_(bindparam("task_ids", expanding=True)))
    .with_hint(TASKS, "FORCE INDEX (PRIMARY)", "mysql")
    .where(WORKERS.c.id == bindparam("worker"))
    .with_for_update()
)
_START = Prepared(
    update(TASKS)
    .with_hint("FORCE INDEX (PRIMARY)", dialect_name="mysql")
    .where(TASKS.c.id.in_(bindparam("task_ids", expanding=True)))
    .values(
        status=Status.PROCESSING,
        attempt=TASKS.c.attempt + 1,
        worker_id=bindparam("worker"),
        started_at=Now(),
        progress=None,
        progress_note=None,
        updated_at=Now(),
    )
)


def lock_named(
    connection: Connection, worker_id: str, task_ids: Collection[str]
) -> list[Candidate]:
    """Lock the worker's own row and those of these tasks that are there.

    No ``SKIP LOCKED``: locked is not deleted.

    Raises:
        LeaseLost: the worker's row is gone.
    """
    rows = _LOCK.rows(connection, {"worker": worker_id, "task_ids": sorted(task_ids)})
    if not rows:
        raise LeaseLost(worker_id)
    # Where none of the tasks is there, a row of nothing stands for the worker's.
    return [Candidate.read(row) for row in rows if row[0] is not None]


def lock_overdue(
    connection: Connection,
    types: Sequence[str],
    priority: int,
    due: datetime,
    limit: int,
    *,
    isolated: Collection[str],
    innocent: bool,
) -> list[Candidate]:
    """Lock the oldest that are overdue at a priority, passing over what others have locked.

    With ``innocent`` only those that have cost no worker yet, or are of an ``isolated`` type.
    """
    query = (
        select(*_COLUMNS)
        .with_hint(TASKS, "FORCE INDEX (tasks_due)", "mysql")
        .where(
            TASKS.c.status == Status.PENDING,
            TASKS.c.priority == priority,
            TASKS.c.run_at <= due,
            TASKS.c.type.in_(types),
        )
        .order_by(TASKS.c.run_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    if innocent:
        query = query.where(or_(TASKS.c.crashes == 0, TASKS.c.type.in_(isolated)))
    return [Candidate.read(row) for row in connection.execute(query)]


def mark_started(
    connection: Connection, worker_id: str, task_ids: Collection[str], *, commit: bool
) -> None:
    """Make locked tasks PROCESSING, each with the next number of an attempt.

    ``commit`` ends the transaction in the same round trip.
    """
    named = {"task_ids": sorted(task_ids), "worker": worker_id}
    if commit:
        commit_with(connection, _START, named)
    else:
        _START.count(connection, named)
