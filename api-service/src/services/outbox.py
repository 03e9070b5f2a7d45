"""The statements of the outbox: which messages are still to be sent, and which no longer."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, insert, or_, select, text
from sqlalchemy.dialects import mysql

from src.contract import Status
from src.db.dialect import now
from src.models.tables import Outbox, Task
from src.prepared import Prepared, Step
from src.services.publisher import Message

#: After so long without its row being deleted, the relay that was handed a message has died.
HANDED_OVERDUE = timedelta(seconds=5)

#: Due when the task is, to the digit; and handed if that is at once.
_PROMISE_NEW = Prepared(
    insert(Outbox).from_select(
        ["task_id", "due_at", "handed"],
        select(Task.id, Task.run_at, Task.run_at <= Task.created_at)
        .with_hint(Task, "FORCE INDEX (PRIMARY)", "mysql")
        .where(Task.id.in_(bindparam("ids", expanding=True))),
    )
)

# A list in one parameter, read by the server. Said to be ASCII, or the server compares as utf8mb4
# and cannot use the key of an ASCII column.
_ID = "task_id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin PATH"
_IDS = f"JSON_TABLE(:ids, '$[*]' COLUMNS ({_ID} '$')) v"
_DUE_AT = "due_at DATETIME(3) PATH"
_PROMISES = f"JSON_TABLE(:promises, '$[*]' COLUMNS ({_ID} '$[0]', {_DUE_AT} '$[1]')) v"

# Joins by primary key: ``DELETE … IN (…)`` scans a small table, and then two relays deadlock.
_BY_KEY = "STRAIGHT_JOIN outbox o FORCE INDEX (PRIMARY) ON o.task_id = v.task_id"
_DELETE_HANDED = text(f"DELETE o FROM {_IDS} {_BY_KEY} AND o.handed")
_DELETE_READ = text(f"DELETE o FROM {_PROMISES} {_BY_KEY} AND o.due_at = v.due_at")


@dataclass(frozen=True)
class Promise:
    """An outbox row as it was read."""

    task_id: str
    due_at: datetime


@dataclass(frozen=True)
class Due:
    """What was locked."""

    promises: Sequence[Promise]
    #: Those of them whose tasks still wait for a message.
    messages: Sequence[Message]
    #: When, by the database's clock.
    read_at: datetime

    def kept(self, sent: Collection[str]) -> list[Promise]:
        """Return the promises that need no message any more once these are sent."""
        open_ones = {message.task_id for message in self.messages}.difference(sent)
        return [promise for promise in self.promises if promise.task_id not in open_ones]


def new_promises(task_ids: Sequence[str]) -> Step:
    """Return the statement that promises the deliveries of tasks stored right before."""
    return _PROMISE_NEW, {"ids": sorted(task_ids)}


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
    promises = [Promise(row.task_id, row.due_at) for row in due]
    return Due(promises, _messages(connection, promises) if promises else [], instant)


def _messages(connection: Connection, promises: Sequence[Promise]) -> list[Message]:
    """Return the messages of those that are PENDING, in the order of the promises."""
    ids = [promise.task_id for promise in promises]
    query = select(Task.id, Task.priority, Task.type, Task.traceparent).where(
        Task.id.in_(ids), Task.status == Status.PENDING
    )
    found = {row.id: Message(*row) for row in connection.execute(query)}
    return [found[task_id] for task_id in ids if task_id in found]


def delete_promises(connection: Connection, promises: Sequence[Promise]) -> None:
    """Delete the outbox rows as they were read; one that was promised anew meanwhile stays."""
    if promises:
        rows = sorted((promise.task_id, promise.due_at.isoformat(" ")) for promise in promises)
        connection.execute(_DELETE_READ, {"promises": json.dumps(rows)})


def delete_handed(connection: Connection, task_ids: Sequence[str]) -> None:
    """Delete the outbox rows of what was handed to a relay, which has sent it.

    A task is handed once, when it is new: a row that says so is that one promise, and one that
    was made anew says that it was handed to nobody.
    """
    connection.execute(_DELETE_HANDED, {"ids": json.dumps(sorted(task_ids))})


def promise_anew(connection: Connection, task_ids: Collection[str], due_at: datetime) -> None:
    """Promise deliveries of tasks that had one before; nobody is handed them."""
    rows = [{"task_id": task_id, "due_at": due_at, "handed": False} for task_id in sorted(task_ids)]
    statement = mysql.insert(Outbox)
    new = {"due_at": statement.inserted.due_at, "handed": statement.inserted.handed}
    connection.execute(statement.on_duplicate_key_update(new), rows)
