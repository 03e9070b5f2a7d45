"""Submitting a task and looking it up."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import structlog
import uuid_utils
from sqlalchemy import RowMapping, select
from sqlalchemy.exc import IntegrityError

from src.contract import DEFAULT_PRIORITY, DEFAULT_TYPE, PRIORITIES
from src.db.database import Database
from src.db.dialect import is_duplicate
from src.models.tables import Task
from src.services.errors import TaskNotFound
from src.services.publisher import Message
from src.services.writer import NewTask, insert_tasks

log = structlog.get_logger(__name__)


class Hand(Protocol):
    """Where committed tasks are handed to for delivery; must not block."""

    def hand(self, messages: Sequence[Message]) -> None: ...


class TaskService:
    """What the routes call. ``relay`` is None where no broker is configured."""

    def __init__(self, database: Database, relay: Hand | None) -> None:
        self._database = database
        self._relay = relay

    def submit(self, title: str, description: str, details: dict[str, Any] | None) -> str:
        """Store a task and promise its delivery; return its id once both are committed.

        Raises:
            DatabaseUnavailable: nothing may be stored; the same request is safe to send again.
        """
        task = NewTask(
            task_id=str(uuid_utils.uuid7()),
            title=title,
            description=description,
            details=details,
            type=DEFAULT_TYPE,
            priority=_priority(details),
        )
        due_at = self._store(task)
        if self._relay and due_at:
            self._relay.hand([Message(task.task_id, due_at, task.priority, task.type)])
        log.info("submitted", task_id=task.task_id)
        return task.task_id

    def _store(self, task: NewTask) -> datetime | None:
        """Commit the task; return when it is due, or None where that is not known."""
        promise = self._relay is not None
        try:
            return self._database.write(
                lambda connection: insert_tasks(connection, [task], promise_delivery=promise)
            )
        except IntegrityError as error:
            if not is_duplicate(error):
                raise
            # The id is ours alone: a first commit had happened and its answer was lost on the
            # way. The relay will find the outbox row by itself.
            return None

    def get(self, task_id: str) -> RowMapping:
        """Return the task's row.

        Raises:
            TaskNotFound: no row has this id.
            DatabaseUnavailable: nobody could be asked.
        """
        query = select(*Task.__table__.columns).where(Task.id == task_id)
        row = self._database.read(lambda connection: connection.execute(query).mappings().first())
        if row is None:
            raise TaskNotFound
        return row


def _priority(details: dict[str, Any] | None) -> int:
    """Honour ``metadata.priority`` where it says high, normal or low; else it is plain data."""
    wish = (details or {}).get("priority")
    return PRIORITIES.get(wish, DEFAULT_PRIORITY) if isinstance(wish, str) else DEFAULT_PRIORITY
