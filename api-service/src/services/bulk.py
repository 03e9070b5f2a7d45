"""One action on many tasks, in batches that hold their locks for a moment each."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import structlog
from sqlalchemy import Connection, RowMapping

from src.contract import Status
from src.db.database import Database
from src.services.listing import Filter, find_ids
from src.services.tasks import TaskService
from src.services.transitions import OPEN_TO, Action, apply, find_all, is_told

log = structlog.get_logger(__name__)

#: Tasks in one transaction.
BATCH = 200
#: Tasks in one request, and the seconds after which it begins no further batch.
MAX_TASKS = 10_000
MAX_SECONDS = 5.0


@dataclass
class Tally:
    """What came of it.

    ``skipped`` counts by reason: a status, ``told`` (it is being cancelled already), or
    ``unknown``. With ``next_before`` there are older tasks, which were not looked at.
    """

    changed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    next_before: str | None = None


@dataclass(frozen=True)
class _Batch:
    """The tasks of a batch that are there, and those of them that the action changes."""

    rows: dict[str, RowMapping]
    chosen: dict[str, RowMapping]


class BulkService:
    """What the bulk route calls."""

    def __init__(self, database: Database, tasks: TaskService, *, promise_delivery: bool) -> None:
        self._database = database
        self._tasks = tasks
        self._promise_delivery = promise_delivery

    def act_on(self, action: Action, task_ids: Sequence[str], *, dry_run: bool) -> Tally:
        """Act on these tasks.

        Raises:
            DatabaseUnavailable: some may be done; the same request again does the rest.
        """
        tally = Tally()
        ids = sorted(set(task_ids))
        for begin in range(0, len(ids), BATCH):
            self._one_batch(action, ids[begin : begin + BATCH], tally, dry_run=dry_run)
        self._report(action, tally, dry_run=dry_run)
        return tally

    def act_where(
        self, action: Action, wanted: Filter, before: str | None, *, dry_run: bool
    ) -> Tally:
        """Act on the tasks that are wanted, newest first, of those older than ``before``.

        Raises:
            DatabaseUnavailable: some may be done; the same request again does the rest.
        """
        tally = Tally()
        statuses = [s for s in wanted.statuses or Status if s in OPEN_TO[action]]
        open_ones = replace(wanted, statuses=statuses)
        deadline = time.monotonic() + MAX_SECONDS
        seen = 0
        while statuses:
            ids, before = self._database.read(
                partial(find_ids, wanted=open_ones, before=before, limit=BATCH)
            )
            seen += len(ids)
            if ids:
                self._one_batch(action, ids, tally, dry_run=dry_run)
            is_over = seen >= MAX_TASKS or time.monotonic() > deadline
            if before is None or is_over:
                tally.next_before = before
                break
        self._report(action, tally, dry_run=dry_run)
        return tally

    def _report(self, action: Action, tally: Tally, *, dry_run: bool) -> None:
        log.info(f"bulk {action}", changed=tally.changed, dry_run=dry_run)

    def _one_batch(
        self, action: Action, task_ids: Sequence[str], tally: Tally, *, dry_run: bool
    ) -> None:
        earlier: dict[str, RowMapping] = {}

        def work(connection: Connection) -> _Batch:
            batch = self._apply(connection, action, task_ids, dry_run=dry_run)
            # Run again since the answer to its commit was lost, it finds its own deeds. (Where the
            # first go was undone and somebody else was faster, that one's count.)
            earlier.update(batch.chosen)
            return replace(batch, chosen=dict(earlier))

        batch = (self._database.read if dry_run else self._database.write)(work)
        tally.changed += len(batch.chosen)
        tally.skipped["unknown"] += len(task_ids) - len(batch.rows.keys() | batch.chosen.keys())
        for task_id in batch.rows.keys() - batch.chosen.keys():
            row = batch.rows[task_id]
            tally.skipped["told" if is_told(row) else row["status"]] += 1
        if batch.chosen and not dry_run:
            # Tasks that begin anew, or that tell of those which ended.
            self._tasks.send_promised()

    def _apply(
        self, connection: Connection, action: Action, task_ids: Sequence[str], *, dry_run: bool
    ) -> _Batch:
        rows = find_all(connection, task_ids, lock=not dry_run)
        chosen = {
            task_id: row
            for task_id, row in rows.items()
            if row["status"] in OPEN_TO[action] and not (action is Action.CANCEL and is_told(row))
        }
        if chosen and not dry_run:
            apply(connection, action, chosen, promise_delivery=self._promise_delivery)
        return _Batch(rows, chosen)
