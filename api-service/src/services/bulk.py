"""One action on many tasks, in batches that hold their locks for a moment each."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import structlog
from sqlalchemy import Connection, RowMapping

from src.contract import Status
from src.db.database import Database
from src.services.listing import Filter, find_ids
from src.services.tasks import TaskService
from src.services.transitions import OPEN_TO, Action, apply, find_all, is_told

log = structlog.get_logger(__name__)

_Rows = dict[str, RowMapping]

#: Tasks in one transaction.
BATCH = 200
#: Tasks in one request, and the seconds after which it begins no further batch.
MAX_TASKS = 10_000
MAX_SECONDS = 5.0


@dataclass
class Tally:
    """What came of it. ``skipped`` counts by reason: a status, ``told`` (it is being cancelled
    already), or ``unknown``. With ``more``, there are tasks that were not looked at."""

    changed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    more: bool = False


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
        batches = (task_ids[n : n + BATCH] for n in range(0, len(task_ids), BATCH))
        return self._act(action, batches, dry_run=dry_run)

    def act_where(self, action: Action, wanted: Filter, *, dry_run: bool) -> Tally:
        """Act on the tasks that are wanted, newest first.

        Raises:
            DatabaseUnavailable: some may be done; the same request again does the rest.
        """
        return self._act(action, self._batches(action, wanted), dry_run=dry_run)

    def _batches(self, action: Action, wanted: Filter) -> Iterator[list[str]]:
        statuses = [s for s in wanted.statuses or Status if s in OPEN_TO[action]]
        if not statuses:
            return
        open_ones = replace(wanted, statuses=statuses)
        before: str | None = None
        while True:
            ids, before = self._database.read(
                partial(find_ids, wanted=open_ones, before=before, limit=BATCH)
            )
            # Empty ones too: whoever takes them looks at the clock.
            yield ids
            if before is None:
                return

    def _act(self, action: Action, batches: Iterable[Sequence[str]], *, dry_run: bool) -> Tally:
        tally = Tally()
        deadline = time.monotonic() + MAX_SECONDS
        seen = 0
        for batch in batches:
            if seen >= MAX_TASKS or time.monotonic() > deadline:
                tally.more = True
                break
            seen += len(batch)
            if batch:
                self._one_batch(action, batch, tally, dry_run=dry_run)
        log.info(f"bulk {action}", changed=tally.changed, dry_run=dry_run, more=tally.more)
        return tally

    def _one_batch(
        self, action: Action, task_ids: Sequence[str], tally: Tally, *, dry_run: bool
    ) -> None:
        run = self._database.read if dry_run else self._database.write
        rows, chosen, instant = run(partial(self._apply, action, task_ids, dry_run))
        tally.changed += len(chosen)
        tally.skipped["unknown"] += len(set(task_ids)) - len(rows)
        for task_id in rows.keys() - chosen.keys():
            row = rows[task_id]
            tally.skipped["told" if is_told(row) else row["status"]] += 1
        if action is Action.RETRY and instant:
            self._tasks.hand(chosen.values(), instant)

    def _apply(
        self, action: Action, task_ids: Sequence[str], dry_run: bool, connection: Connection
    ) -> tuple[_Rows, _Rows, datetime | None]:
        """Return the tasks that are there, those that the action changes, and when it did."""
        rows = find_all(connection, task_ids, lock=not dry_run)
        chosen = {
            task_id: row
            for task_id, row in rows.items()
            if row["status"] in OPEN_TO[action] and not (action is Action.CANCEL and is_told(row))
        }
        if dry_run or not chosen:
            return rows, chosen, None
        promise = self._promise_delivery
        return rows, chosen, apply(connection, action, chosen, promise_delivery=promise)
