"""Submitting tasks, looking one up, and what a client may do to it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog
import uuid_utils
from sqlalchemy import Connection, RowMapping, select
from sqlalchemy.exc import IntegrityError

from src.contract import DEFAULT_PRIORITY, PRIORITIES
from src.db.database import Database, DatabaseUnavailable
from src.db.dialect import is_duplicate
from src.models.tables import Task
from src.services.catalogue import Catalogue
from src.services.errors import (
    Complaint,
    KeyReused,
    SubmissionInvalid,
    TaskNotFound,
    TransitionRefused,
)
from src.services.ledger import Ledger, read_ledger
from src.services.listing import Filter, Page, list_tasks
from src.services.publisher import Message
from src.services.transitions import Action, act, find
from src.services.writer import NewTask, Repeatable, Submission, insert_tasks

log = structlog.get_logger(__name__)

#: Goes of a submission whose key another one takes and gives up at the same time.
KEY_GOES = 3
#: Complaints after which a batch is not checked further; an answer names no more.
MAX_COMPLAINTS = 50


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
        task = _new(wish)
        self._store([task])
        return task.task_id

    def submit_once(self, wish: Submission, repeatable: Repeatable) -> tuple[str, bool]:
        """Store a task, unless it was stored under this key before.

        The key is unique in the table: of two requests at once, one inserts, and the other one
        waits for it and then finds its row.

        Returns:
            The id, and whether it is that of an earlier request.

        Raises:
            KeyReused: that request asked for something else.
            SubmissionInvalid: no worker can run it.
            DatabaseUnavailable: it may be stored; the same request is safe to send again.
        """
        for _ in range(KEY_GOES):
            if known := self._find_by_key(repeatable):
                return known, True
            self._catalogue.check(wish.type, wish.details)
            task = _new(wish, repeatable)
            try:
                self._store([task])
            except IntegrityError as error:
                if not is_duplicate(error):
                    raise
            else:
                return task.task_id, False
        raise DatabaseUnavailable("the idempotency key changes hands all the time")

    def submit_all(self, wishes: Sequence[Submission]) -> list[str]:
        """Store tasks, all or none; return their ids in the same order.

        Raises:
            SubmissionInvalid: some cannot be run; ``complaints`` name them by index.
            DatabaseUnavailable: nothing may be stored.
        """
        complaints = list(self._complaints(wishes))
        if complaints:
            raise SubmissionInvalid(complaints)
        tasks = [_new(wish) for wish in wishes]
        self._store(tasks)
        return [task.task_id for task in tasks]

    def list(self, wanted: Filter, before: str | None, limit: int) -> Page:
        """Return a page of tasks, newest first; see ``list_tasks``.

        Raises:
            DatabaseUnavailable: nobody could be asked.
        """
        return self._database.read(partial(list_tasks, wanted=wanted, before=before, limit=limit))

    def ledger(self, task_id: str) -> Ledger:
        """Return a task's row, and its attempts that did not succeed.

        Raises:
            TaskNotFound: no row has this id.
            DatabaseUnavailable: nobody could be asked.
        """
        return self._database.read_at_once(partial(read_ledger, task_id=task_id))

    def get(self, task_id: str) -> RowMapping:
        """Return the task's row.

        Raises:
            TaskNotFound: no row has this id.
            DatabaseUnavailable: nobody could be asked.
        """
        return self._database.read(lambda connection: find(connection, task_id))

    def act(self, action: Action, task_id: str) -> RowMapping:
        """Cancel, retry or delete a task; return its row as it is then, or was before.

        Raises:
            TaskNotFound: no row has this id.
            TransitionRefused: its status leads nowhere from there.
            DatabaseUnavailable: it may have been done; asking again finds out.
        """
        promise = self._relay is not None
        done: list[RowMapping] = []

        def work(connection: Connection) -> RowMapping:
            try:
                row = act(connection, action, task_id, promise_delivery=promise)
            except (TaskNotFound, TransitionRefused) as refusal:
                # Run again since the answer to its commit was lost, it finds its own deed: a task
                # that is gone, or PENDING already.
                is_own = isinstance(refusal, TaskNotFound) is (action is Action.DELETE)
                if done and is_own and action is not Action.CANCEL:
                    return done[0]
                raise
            done.append(row)
            return row

        row = self._database.write(work)
        log.info(f"{action} requested", task_id=task_id, status=row["status"])
        if action is Action.RETRY:
            self.hand([row], row["run_at"])
        return row

    def hand(self, rows: Iterable[RowMapping], due_at: datetime) -> None:
        """Give the relay tasks that have just been made due, by their rows."""
        if self._relay:
            self._relay.hand(
                [
                    Message(row["id"], due_at, row["priority"], row["type"], row["traceparent"])
                    for row in rows
                ]
            )

    def _store(self, tasks: Sequence[NewTask]) -> None:
        """Commit tasks, then hand to the relay those that are due.

        Raises:
            IntegrityError: an idempotency key is taken.
        """
        due = self._insert(tasks)
        if self._relay:
            self._relay.hand(
                [
                    Message(task.task_id, due[task.task_id], task.priority, task.wish.type)
                    for task in tasks
                    if task.task_id in due
                ]
            )
        for task in tasks:
            log.info("submitted", task_id=task.task_id, type=task.wish.type)

    def _insert(self, tasks: Sequence[NewTask]) -> dict[str, datetime]:
        promise = self._relay is not None
        try:
            return self._database.write(
                lambda connection: insert_tasks(connection, tasks, promise_delivery=promise)
            )
        except IntegrityError as error:
            if not is_duplicate(error) or not self._is_stored(tasks[0].task_id):
                raise
            # The id is ours alone: a first commit had happened and its answer was lost on the
            # way. The relay will find the outbox rows by itself.
            return {}

    def _is_stored(self, task_id: str) -> bool:
        query = select(Task.id).where(Task.id == task_id)
        return self._database.read(lambda connection: connection.scalar(query)) is not None

    def _find_by_key(self, repeatable: Repeatable) -> str | None:
        query = select(Task.id, Task.request_hash).where(Task.idempotency_key == repeatable.key)
        row = self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            return None
        if row.request_hash != repeatable.request_hash:
            raise KeyReused
        return str(row.id)

    def _complaints(self, wishes: Sequence[Submission]) -> Iterable[Complaint]:
        found = 0
        for index, wish in enumerate(wishes):
            try:
                self._catalogue.check(wish.type, wish.details)
            except SubmissionInvalid as invalid:
                for complaint in invalid.complaints:
                    yield Complaint(f"tasks.{index}.{complaint.field}", complaint.message)
                found += len(invalid.complaints)
                if found >= MAX_COMPLAINTS:
                    return


def _new(wish: Submission, repeatable: Repeatable | None = None) -> NewTask:
    return NewTask(str(uuid_utils.uuid7()), wish, _priority(wish), repeatable)


def _priority(wish: Submission) -> int:
    """Take the priority asked for; else ``metadata.priority`` where it says high, normal or low."""
    name = wish.priority or (wish.details or {}).get("priority")
    return PRIORITIES.get(name, DEFAULT_PRIORITY) if isinstance(name, str) else DEFAULT_PRIORITY
