"""Submitting a task, looking it up, cancelling it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import structlog
import uuid_utils
from sqlalchemy import RowMapping
from sqlalchemy.exc import IntegrityError

from src.contract import DEFAULT_PRIORITY, PRIORITIES
from src.db.database import Database
from src.db.dialect import is_duplicate
from src.services.catalogue import Catalogue
from src.services.publisher import Message
from src.services.transitions import cancel_task, find
from src.services.writer import NewTask, Submission, insert_tasks

log = structlog.get_logger(__name__)


class Hand(Protocol):
    """Where committed tasks are handed to for delivery; must not block."""

    def hand(self, messages: Sequence[Message]) -> None: ...


class TaskService:
    """What the routes call. ``relay`` is None where no broker is configured."""

    def __init__(self, database: Database, catalogue: Catalogue, relay: Hand | None) -> None:
        self._database = database
        self._catalogue = catalogue
        self._relay = relay

    def submit(self, wish: Submission) -> str:
        """Store a task and promise its delivery; return its id once both are committed.

        Raises:
            SubmissionInvalid: no worker can run it.
            DatabaseUnavailable: nothing may be stored; the same request is safe to send again.
        """
        self._catalogue.check(wish.type, wish.details)
        task = NewTask(str(uuid_utils.uuid7()), wish, _priority(wish))
        due_at = self._store(task)
        if self._relay and due_at:
            self._relay.hand([Message(task.task_id, due_at, task.priority, wish.type)])
        log.info("submitted", task_id=task.task_id, type=wish.type)
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
        return self._database.read(lambda connection: find(connection, task_id))

    def cancel(self, task_id: str) -> RowMapping:
        """Cancel a task, or ask the worker that runs it to; return its row as it is now.

        Raises:
            TaskNotFound: no row has this id.
            TaskFinal: it is COMPLETED or FAILED.
            DatabaseUnavailable: it may have been cancelled; the same request is safe to send again.
        """
        row = self._database.write(lambda connection: cancel_task(connection, task_id))
        log.info("cancel requested", task_id=task_id, status=row["status"])
        return row


def _priority(wish: Submission) -> int:
    """Take the priority asked for; else ``metadata.priority`` where it says high, normal or low."""
    name = wish.priority or (wish.details or {}).get("priority")
    return PRIORITIES.get(name, DEFAULT_PRIORITY) if isinstance(name, str) else DEFAULT_PRIORITY
