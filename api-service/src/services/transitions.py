"""What a client may do to a task that is there, as statements in the caller's transaction."""

from sqlalchemy import Connection, RowMapping, select, update

from src.contract import Status
from src.db.dialect import now
from src.models.tables import Task
from src.services.errors import TaskFinal, TaskNotFound


def find(connection: Connection, task_id: str, *, lock: bool = False) -> RowMapping:
    """Return the task's row, perhaps under lock.

    Raises:
        TaskNotFound: no row has this id.
    """
    query = select(*Task.__table__.columns).where(Task.id == task_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise TaskNotFound
    return row


def cancel_task(connection: Connection, task_id: str) -> RowMapping:
    """Cancel a task that waits; leave a flag for the worker of one that runs.

    The outbox row stays: the relay drops promises of tasks that need no work, and nobody else
    waits for such a row.

    Raises:
        TaskNotFound: no row has this id.
        TaskFinal: it is COMPLETED or FAILED.
    """
    task = find(connection, task_id, lock=True)
    match Status(task["status"]):
        case Status.PENDING:
            instant = now(connection)
            change = {"status": Status.CANCELLED, "completed_at": instant, "updated_at": instant}
        case Status.PROCESSING if not task["cancel_requested"]:
            change = {"cancel_requested": True, "updated_at": now(connection)}
        case Status.PROCESSING | Status.CANCELLED:
            return task
        case final:
            raise TaskFinal(final)
    connection.execute(update(Task).where(Task.id == task_id).values(change))
    return find(connection, task_id)
