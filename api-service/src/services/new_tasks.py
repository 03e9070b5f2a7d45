"""Stores tasks together with the promises to deliver them: the step that makes 202 a promise."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any

from sqlalchemy import Connection, Text, bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from src.contract import DEFAULT_TYPE
from src.db.database import Database, DatabaseUnavailable
from src.db.dialect import is_duplicate, now
from src.models.tables import Task
from src.prepared import Prepared, run_together
from src.services.errors import KeyReused
from src.services.outbox import new_promises
from src.services.publisher import Message

#: Goes of a batch in which somebody else stores a key at the same moment.
KEY_GOES = 3


class KeysContended(DatabaseUnavailable):
    """A key is stored and given up by others, again and again."""


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
    #: The name of the API key, where keys are asked for.
    submitted_by: str | None = None
    #: Who is told when it is final.
    callback_url: str | None = None

    @property
    def is_for_later(self) -> bool:
        return self.run_at is not None or self.delay is not None


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

    @cached_property
    def details(self) -> str | None:
        """The client's metadata as JSON."""
        return None if self.wish.details is None else json.dumps(self.wish.details)

    def size(self) -> int:
        """Return about how many bytes its row takes in a statement."""
        return len(self.wish.description.encode()) + len(self.details or "")


@dataclass(frozen=True)
class Stored:
    """Under which id a submission is stored, and whether an earlier one had stored it."""

    task_id: str
    replayed: bool = False


@dataclass(frozen=True)
class StoredBatch:
    """What became of each task, by the id meant for it, and the messages that are due at once."""

    answers: Mapping[str, Stored | KeyReused]
    messages: Sequence[Message]


def commit_batch(
    database: Database,
    tasks: Sequence[NewTask],
    *,
    promise_delivery: bool,
    ready: Callable[[], None] = lambda: None,
) -> StoredBatch:
    """Store tasks in one transaction; ``ready`` is called right before its commit.

    Raises:
        KeysContended: others store the same keys all the time.
        DatabaseUnavailable: nothing may be stored.
    """
    again = False

    def work(connection: Connection) -> StoredBatch:
        nonlocal again
        stored = store_batch(connection, tasks, promise_delivery=promise_delivery, again=again)
        ready()
        again = True
        return stored

    for _ in range(KEY_GOES):
        try:
            return database.write(work)
        except IntegrityError as error:
            # A key of somebody's, who has committed by now: it will be found. Or ids of our own,
            # from a commit that was answered to nobody.
            if not is_duplicate(error):
                raise
    raise KeysContended("the idempotency key changes hands all the time")


def store_batch(
    connection: Connection, tasks: Sequence[NewTask], *, promise_delivery: bool, again: bool
) -> StoredBatch:
    """Store those of the tasks that no earlier submission has stored under their key.

    ``again``: the answer to a first commit of this batch was lost, so it may have happened.

    Raises:
        IntegrityError: somebody else stored one of the keys at the same moment.
    """
    keys = [task.repeatable.key for task in tasks if task.repeatable]
    known = find_keys(connection, keys) if keys else {}
    answers: dict[str, Stored | KeyReused] = {}
    new = []
    for task in tasks:
        if task.repeatable is None:
            new.append(task)
            continue
        mine = Known(task.task_id, task.repeatable.request_hash)
        first = known.setdefault(task.repeatable.key, mine)
        if first.task_id == task.task_id:
            new.append(task)
        else:
            answers[task.task_id] = first.answer(task.repeatable)
    answers |= {task.task_id: Stored(task.task_id) for task in new}
    if not new or (again and _is_stored(connection, new[0].task_id)):
        # The ids are ours alone: the commit had happened, of all or of none. A relay will find
        # the outbox rows by itself.
        return StoredBatch(answers, [])
    due = insert_tasks(connection, new, promise_delivery=promise_delivery)
    return StoredBatch(answers, messages_of(new, due) if promise_delivery else [])


@dataclass(frozen=True)
class Known:
    """The submission that a key belongs to."""

    task_id: str
    request_hash: str

    def answer(self, repeatable: Repeatable) -> Stored | KeyReused:
        """Return what a later submission under the same key is told."""
        same = self.request_hash == repeatable.request_hash
        return Stored(self.task_id, replayed=True) if same else KeyReused()


def find_keys(connection: Connection, keys: Sequence[str]) -> dict[str, Known]:
    """Return the submissions that are stored under these keys."""
    query = select(Task.idempotency_key, Task.id, Task.request_hash).where(
        Task.idempotency_key.in_(sorted(set(keys)))
    )
    return {
        str(row.idempotency_key): Known(row.id, str(row.request_hash))
        for row in connection.execute(query)
    }


def messages_of(tasks: Sequence[NewTask], due: Collection[str]) -> list[Message]:
    """Return the messages of those tasks that are due, as ``insert_tasks`` tells."""
    return [
        Message(task.task_id, task.priority, task.wish.type)
        for task in tasks
        if task.task_id in due
    ]


def _is_stored(connection: Connection, task_id: str) -> bool:
    return connection.scalar(select(Task.id).where(Task.id == task_id)) is not None


def insert_tasks(
    connection: Connection, tasks: Sequence[NewTask], *, promise_delivery: bool
) -> set[str]:
    """Store tasks, and with a broker the outbox rows, in the caller's one transaction.

    Returns:
        The ids of those that are due at once. Their outbox rows say that a relay is given them;
        those of the others wait for a relay's sweep.
    """
    # What is due at once has its times from the columns' defaults: to ask for them costs as much
    # as to write the rows.
    instant = now(connection) if any(task.wish.is_for_later for task in tasks) else None
    # Sorted, so that two batches wait for each other in one order only.
    rows = [_row(task, instant) for task in sorted(tasks, key=lambda task: task.task_id)]
    rows = _without_unset(rows)
    promises = [new_promises([row["id"] for row in rows])] if promise_delivery else []
    # The commit goes by itself. In one piece with these a server that is slow would carry it out
    # when the client has long been told that nothing is stored.
    run_together(connection, (_insertion(tuple(rows[0])), rows), *promises)
    return {row["id"] for row in rows if row.get("run_at") == instant}


@lru_cache(maxsize=64)
def _insertion(names: Sequence[str]) -> Prepared:
    """Return the statement for rows that have these columns."""
    text = {"metadata": bindparam("metadata", type_=Text)}
    values = {name: text.get(name, bindparam(name)) for name in names}
    return Prepared(insert(Task).values(values))


def _due_at(wish: Submission, instant: datetime) -> datetime:
    """Return when it may run; a time that has passed is now, so that it jumps no queue."""
    if wish.delay is not None:
        return instant + wish.delay
    return max(wish.run_at or instant, instant)


def _row(task: NewTask, instant: datetime | None) -> dict[str, Any]:
    """Return the values of the columns; None leaves one to its default."""
    wish = task.wish
    return {
        "id": task.task_id,
        "title": wish.title,
        "description": wish.description,
        "metadata": task.details,
        "type": wish.type,
        "priority": task.priority,
        "max_attempts": wish.max_attempts,
        "timeout_seconds": wish.timeout_seconds,
        "created_at": instant,
        "updated_at": instant,
        "run_at": instant and _due_at(wish, instant),
        "idempotency_key": task.repeatable and task.repeatable.key,
        "request_hash": task.repeatable and task.repeatable.request_hash,
        "submitted_by": wish.submitted_by,
        "callback_url": wish.callback_url,
    }


def _without_unset(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the columns that none of the rows sets: each value of a statement costs."""
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    return [{name: row[name] for name in names} for row in rows]
