"""Stores tasks together with the promises to deliver them: the step that makes 202 a promise."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert

from src.contract import DEFAULT_TYPE, Status
from src.db.dialect import now
from src.models.tables import Outbox, Task


@dataclass(frozen=True)
class Submission:
    """What a client asks for, validated. None leaves a limit to the type and the worker."""

    title: str
    description: str
    details: dict[str, Any] | None
    type: str = DEFAULT_TYPE
    #: high, normal or low; None: as ``metadata.priority`` says.
    priority: str | None = None
    #: Not before this time (UTC, without zone), or not before so much from now; at once if neither.
    run_at: datetime | None = None
    delay: timedelta | None = None
    max_attempts: int | None = None
    timeout_seconds: int | None = None


@dataclass(frozen=True)
class Repeatable:
    """How a repeated submission is known: the client's key, and a hash of what was asked for."""

    key: str
    request_hash: str


@dataclass(frozen=True)
class NewTask:
    """A submission under the id that its client will be told, and its place in the queue."""

    task_id: str
    wish: Submission
    priority: int
    repeatable: Repeatable | None = None


def insert_tasks(
    connection: Connection, tasks: Sequence[NewTask], *, promise_delivery: bool
) -> dict[str, datetime]:
    """Store tasks, and with a broker the outbox rows, in the caller's one transaction.

    Returns:
        Of those that are due at once: id and since when, by the database's clock. Their outbox
        rows say that a relay is given them; those of the others wait for a relay's sweep.
    """
    instant = now(connection)
    # Sorted, so that two batches wait for each other in one order only.
    ordered = sorted(tasks, key=lambda task: task.task_id)
    due = {task.task_id: _due_at(task.wish, instant) for task in ordered}
    connection.execute(insert(Task), [_row(task, instant, due[task.task_id]) for task in ordered])
    if promise_delivery:
        connection.execute(
            insert(Outbox),
            [
                {"task_id": task_id, "due_at": due_at, "handed": due_at <= instant}
                for task_id, due_at in due.items()
            ],
        )
    return {task_id: due_at for task_id, due_at in due.items() if due_at <= instant}


def _due_at(wish: Submission, instant: datetime) -> datetime:
    """Return when it may run; a time that has passed is now, so that it jumps no queue."""
    if wish.delay is not None:
        return instant + wish.delay
    return max(wish.run_at or instant, instant)


def _row(task: NewTask, instant: datetime, due_at: datetime) -> dict[str, Any]:
    wish = task.wish
    return {
        "id": task.task_id,
        "title": wish.title,
        "description": wish.description,
        "status": Status.PENDING,
        "metadata": wish.details,
        "type": wish.type,
        "priority": task.priority,
        "max_attempts": wish.max_attempts,
        "timeout_seconds": wish.timeout_seconds,
        "created_at": instant,
        "updated_at": instant,
        "run_at": due_at,
        "idempotency_key": task.repeatable and task.repeatable.key,
        "request_hash": task.repeatable and task.repeatable.request_hash,
    }
