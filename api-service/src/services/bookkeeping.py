"""What a relay remembers: what it has sent, and from where it needs to search."""

import math
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial

from src.db.database import Database
from src.services.outbox import HANDED_OVERDUE, delete_handed

#: Seconds between two deletions of what was sent. Nobody waits for one, so the messages of a
#: moment share it; much less than a handed message may be overdue, lest it be sent again.
DELETE_SECONDS = 0.2
#: Messages in one deletion.
DELETE_BATCH = 200
#: How far below the last search the next one begins: what a relay had in hand may be overdue by
#: now, and a transaction that read the clock before may have been committed after.
SLACK = 2 * HANDED_OVERDUE
#: Seconds between two searches from the start, at least, and how many times as long as the last
#: one took: with a backup's snapshot open the server passes over every row that was ever deleted.
FULL_SECONDS, FULL_REST = 2.0, 100


class Sent:
    """Handed tasks whose messages lie in the queue for sure, and their outbox rows still there."""

    def __init__(self) -> None:
        self._task_ids: list[str] = []
        #: When to delete, in seconds of ``time.monotonic``.
        self.due_at = math.inf

    def note(self, task_ids: Collection[str]) -> None:
        if task_ids and not self._task_ids:
            self.due_at = time.monotonic() + DELETE_SECONDS
        self._task_ids += task_ids

    def delete_if_due(self, database: Database) -> None:
        if len(self._task_ids) >= DELETE_BATCH or time.monotonic() >= self.due_at:
            self.delete(database)

    def delete(self, database: Database) -> None:
        """Delete their outbox rows; after a failure a sweep will send them again.

        Raises:
            DatabaseUnavailable: some rows are left.
        """
        task_ids, self._task_ids = self._task_ids, []
        self.due_at = math.inf
        for start in range(0, len(task_ids), DELETE_BATCH):
            some = task_ids[start : start + DELETE_BATCH]
            database.write(partial(delete_handed, task_ids=some))


class Floor:
    """The time below which no due row needs to be looked for.

    Rows that come with an earlier one, of tasks that were rescued or given back, are found by the
    next search from the start, or claimed from the table by a worker.
    """

    def __init__(self) -> None:
        self._floor: datetime | None = None
        self._full_at = -math.inf

    @contextmanager
    def timed(self) -> Iterator[datetime | None]:
        """Give the time to search from, None for the start, for a search that is made now."""
        began = time.monotonic()
        is_full = self._floor is None or began >= self._full_at
        yield None if is_full else self._floor
        if is_full:
            ended = time.monotonic()
            self._full_at = ended + max(FULL_SECONDS, FULL_REST * (ended - began))

    def rise(self, searched_at: datetime) -> None:
        """Note that a search found all there was, by the database's clock."""
        self._floor = searched_at - SLACK
