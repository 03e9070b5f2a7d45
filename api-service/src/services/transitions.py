"""What a client may do to a task that is there, as statements in the caller's transaction."""

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, select, update

from src.contract import FINAL, Status
from src.db.dialect import now
from src.models.tables import Attempt, Task
from src.services.errors import TaskNotFound, TransitionRefused
from src.services.outbox import promise_anew
from src.services.webhooks import write_webhooks


class Action(StrEnum):
    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"


#: The statuses from which an action leads somewhere.
OPEN_TO: Mapping[Action, frozenset[Status]] = {
    Action.CANCEL: frozenset(Status) - FINAL,
    Action.RETRY: frozenset({Status.FAILED, Status.CANCELLED}),
    Action.DELETE: frozenset(Status) - {Status.PROCESSING},
}


def find(connection: Connection, task_id: str) -> RowMapping:
    """Return the task's row.

    Raises:
        TaskNotFound: no row has this id.
    """
    row = connection.execute(_ROWS.where(Task.id == task_id)).mappings().first()
    if row is None:
        raise TaskNotFound
    return row


def find_all(
    connection: Connection, task_ids: Collection[str], *, lock: bool
) -> dict[str, RowMapping]:
    """Return the rows of those tasks that are there; locks are taken in the order of their ids.

    By primary key whatever the optimizer thinks: it scans a small table, and a scan waits for
    the locks of strangers.
    """
    query = (
        _ROWS.with_hint(Task, "FORCE INDEX (PRIMARY)", "mysql")
        .where(Task.id.in_(sorted(task_ids)))
        .order_by(Task.id)
    )
    if lock:
        query = query.with_for_update()
    return {row["id"]: row for row in connection.execute(query).mappings()}


def act(
    connection: Connection, action: Action, task_id: str, *, promise_delivery: bool
) -> RowMapping:
    """Do one thing to one task; return its row as it is then, or was before it was deleted.

    To cancel again what is cancelled, or is being told to stop, changes nothing.

    Raises:
        TaskNotFound: no row has this id.
        TransitionRefused: its status leads nowhere from there.
    """
    rows = find_all(connection, [task_id], lock=True)
    if not rows:
        raise TaskNotFound
    row = rows[task_id]
    if action is Action.CANCEL and (is_told(row) or row["status"] == Status.CANCELLED):
        return row
    if row["status"] not in OPEN_TO[action]:
        raise TransitionRefused(action, Status(row["status"]))
    apply(connection, action, rows, promise_delivery=promise_delivery)
    return row if action is Action.DELETE else find(connection, task_id)


def is_told(row: RowMapping) -> bool:
    """Tell whether a worker is being told already to stop this."""
    return bool(row["status"] == Status.PROCESSING and row["cancel_requested"])


def apply(
    connection: Connection,
    action: Action,
    rows: Mapping[str, RowMapping],
    *,
    promise_delivery: bool,
) -> datetime:
    """Do one thing to tasks that are locked and open to it; return when, by the database's clock.

    Outbox rows are left where they are: the relay drops promises of tasks that need no work, and
    nobody else waits for such a row. A retry writes its promise over what may be there.
    """
    instant = now(connection)
    match action:
        case Action.CANCEL:
            waiting = [i for i, row in rows.items() if row["status"] == Status.PENDING]
            change = _cancelled(instant)
            _write(connection, waiting, change)
            ended = [{**rows[task_id], **change} for task_id in waiting]
            write_webhooks(connection, ended, instant, promise_delivery=promise_delivery)
            running = [i for i, row in rows.items() if row["status"] == Status.PROCESSING]
            _write(connection, running, {"cancel_requested": True, "updated_at": instant})
        case Action.RETRY:
            _write(connection, list(rows), _anew(instant))
            if promise_delivery:
                promise_anew(connection, rows.keys(), instant)
        case Action.DELETE:
            ids = [{"task": task_id} for task_id in rows]
            connection.execute(delete(Task).where(Task.id == bindparam("task")), ids)
            connection.execute(delete(Attempt).where(Attempt.task_id == bindparam("task")), ids)
    return instant


_ROWS = select(*Task.__table__.columns)


def _write(connection: Connection, task_ids: Collection[str], change: Mapping[str, Any]) -> None:
    """Change each by its key: one statement for all of them may scan a small table."""
    if task_ids:
        connection.execute(
            update(Task).where(Task.id == bindparam("task")).values(change),
            [{"task": task_id} for task_id in task_ids],
        )


def _cancelled(instant: datetime) -> dict[str, Any]:
    return {"status": Status.CANCELLED, "completed_at": instant, "updated_at": instant}


def _anew(instant: datetime) -> dict[str, Any]:
    """A task to begin anew, due now.

    ``attempt`` stays, as the fence against what ran before, and ``error``, as what the last
    attempt left.
    """
    return {
        "status": Status.PENDING,
        "run_at": instant,
        "updated_at": instant,
        "errors": 0,
        "crashes": 0,
        "cancel_requested": False,
        "completed_at": None,
        "worker_id": None,
        "started_at": None,
        "progress": None,
        "progress_note": None,
    }
