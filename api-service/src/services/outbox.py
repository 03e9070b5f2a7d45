"""The statements of the relay: which messages are still to be sent, and which no longer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, or_, select, text
from sqlalchemy.dialects import mysql

from src.contract import Status
from src.db.dialect import now
from src.models.tables import Outbox, Task
from src.services.publisher import Message

#: After so long without its row being deleted, the relay that was handed a message has died.
HANDED_OVERDUE = timedelta(seconds=5)


@dataclass(frozen=True)
class Promise:
    """An outbox row as it was read."""

    task_id: str
    due_at: datetime


@dataclass(frozen=True)
class Due:
    """What was locked: messages to send, and promises that need none any more."""

    messages: list[Message]
    settled: list[Promise]
    #: When, by the database's clock.
    read_at: datetime


def lock_due(connection: Connection, limit: int, floor: datetime | None = None) -> Due:
    """Lock what is due and nobody else is sending, the longest due first; none before ``floor``.

    Outbox rows only: a join would lock the tasks as well, and MariaDB has no ``FOR UPDATE OF``.
    """
    instant = now(connection)
    due = connection.execute(
        select(Outbox.task_id, Outbox.due_at)
        .with_hint(Outbox, "FORCE INDEX (outbox_due)", "mysql")
        .where(
            *([Outbox.due_at >= floor] if floor else []),
            Outbox.due_at <= instant,
            or_(Outbox.handed.is_(False), Outbox.due_at <= instant - HANDED_OVERDUE),
        )
        .order_by(Outbox.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not due:
        return Due([], [], instant)
    pending = {
        task.id: task
        for task in connection.execute(
            select(Task.id, Task.priority, Task.type, Task.traceparent).where(
                Task.id.in_([row.task_id for row in due]), Task.status == Status.PENDING
            )
        )
    }
    messages = [
        Message(task.id, row.due_at, task.priority, task.type, task.traceparent)
        for row in due
        if (task := pending.get(row.task_id))
    ]
    settled = [Promise(row.task_id, row.due_at) for row in due if row.task_id not in pending]
    return Due(messages, settled, instant)


def delete_promises(
    connection: Connection, promises: Sequence[Promise | Message], *, handed: bool = False
) -> None:
    """Delete the outbox rows as they were read; one that was promised anew meanwhile stays.

    ``handed``: those only that still say so, for one who holds no lock on them. A worker that
    gives a task back promises it for the same time as before, and hands it to nobody.

    A join by primary key: ``DELETE … IN (…)`` scans a small table, and then two relays deadlock.
    """
    if not promises:
        return
    ordered = sorted(promises, key=lambda promise: promise.task_id)
    # Converted, or the server compares as utf8mb4 and cannot use the key of an ASCII column.
    pairs = " UNION ALL ".join(
        f"SELECT CONVERT(:id{n} USING ascii) COLLATE ascii_bin AS task_id,"
        f" CAST(:due{n} AS DATETIME(3)) AS due_at"
        for n in range(len(ordered))
    )
    parameters: dict[str, Any] = {}
    for n, promise in enumerate(ordered):
        parameters |= {f"id{n}": promise.task_id, f"due{n}": promise.due_at}
    connection.execute(
        text(
            f"DELETE o FROM ({pairs}) v STRAIGHT_JOIN outbox o "
            f"ON o.task_id = v.task_id AND o.due_at = v.due_at{' AND o.handed' if handed else ''}"
        ),
        parameters,
    )


def upsert_promises(connection: Connection, due: Mapping[str, datetime]) -> None:
    """Promise deliveries anew: ``due`` at these times, and handed to a relay."""
    rows = [{"task_id": task_id, "due_at": due[task_id], "handed": True} for task_id in sorted(due)]
    statement = mysql.insert(Outbox)
    new = {"due_at": statement.inserted.due_at, "handed": statement.inserted.handed}
    connection.execute(statement.on_duplicate_key_update(new), rows)
