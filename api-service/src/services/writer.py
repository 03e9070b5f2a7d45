"""Stores tasks together with the promises to deliver them: the step that makes 202 a promise."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from src.contract import Status
from src.db.dialect import now
from src.models.tables import Outbox, Task


@dataclass(frozen=True)
class NewTask:
    """A validated submission under the id that its client will be told."""

    task_id: str
    title: str
    description: str
    details: dict[str, Any] | None
    type: str
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
    return {
        "id": task.task_id,
        "title": task.title,
        "description": task.description,
        "status": Status.PENDING,
        "metadata": task.details,
        "type": task.type,
        "priority": task.priority,
        "created_at": instant,
        "updated_at": instant,
        "run_at": instant,
    }
