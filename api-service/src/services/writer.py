"""Stores tasks together with the promises to deliver them: the step that makes 202 a promise."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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
    max_attempts: int | None = None
    timeout_seconds: int | None = None


@dataclass(frozen=True)
class NewTask:
    """A submission under the id that its client will be told, and its place in the queue."""

    task_id: str
    wish: Submission
    priority: int


def insert_tasks(
    connection: Connection, tasks: Sequence[NewTask], *, promise_delivery: bool
) -> datetime:
    """Store tasks, and with a broker the outbox rows, in the caller's one transaction.

    Returns:
        When they are due: now, by the database's clock.
    """
    instant = now(connection)
    # Sorted, so that two batches wait for each other in one order only.
    ordered = sorted(tasks, key=lambda task: task.task_id)
    connection.execute(insert(Task), [_row(task, instant) for task in ordered])
    if promise_delivery:
        connection.execute(
            insert(Outbox),
            [{"task_id": task.task_id, "due_at": instant, "handed": True} for task in ordered],
        )
    return instant


def _row(task: NewTask, instant: datetime) -> dict[str, Any]:
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
        "run_at": instant,
    }
