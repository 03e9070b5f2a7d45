"""The life of a task as statements: claim, finish. Each method is one transaction."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, and_, bindparam, or_, select, update

from src.contract import PRIORITIES, Status
from src.decision import Counts, Decision, release
from src.outcome import Progress
from src.store.attempts import Attempt, Fence
from src.store.complete import complete, plain_results
from src.store.dialect import Now, delete_by_id, now
from src.store.settle import settle
from src.store.tables import TASKS, WORKERS

_NO_PROGRESS: Mapping[Fence, Progress] = {}

_PROGRESS = (
    update(TASKS)
    .where(
        TASKS.c.id == bindparam("task_id"),
        TASKS.c.attempt == bindparam("number"),
        TASKS.c.status == Status.PROCESSING,
    )
    .values(
        progress=bindparam("percent"),
        progress_note=bindparam("note"),
        updated_at=bindparam("instant"),
    )
)


#: What an attempt needs to know of its task. Being due is a column and no condition: a row that is
#: not due must not look like one that is missing.
_CLAIMED = (
    TASKS.c.id,
    TASKS.c.type,
    TASKS.c.title,
    TASKS.c.description,
    TASKS.c.details,
    TASKS.c.attempt,
    TASKS.c.errors,
    TASKS.c.crashes,
    TASKS.c.max_attempts,
    TASKS.c.timeout_seconds,
    TASKS.c.callback_url,
    and_(TASKS.c.status == Status.PENDING, TASKS.c.run_at <= Now()).label("is_due"),
)


# Made once: to put one together takes as long as to run it.
_LEASE = select(Now()).where(WORKERS.c.id == bindparam("worker")).with_for_update(read=True)
#: The lease and the tasks in one round trip: a row for each task that is there, one without a task
#: where none is, and none at all without the lease. By primary key, see ``lock_tasks``.
_LOCK_FOR_CLAIM: Select[Any] = (
    select(*_CLAIMED)
    .select_from(WORKERS)
    .outerjoin(TASKS, TASKS.c.id.in_(bindparam("task_ids", expanding=True)))
    .with_hint(TASKS, "FORCE INDEX (PRIMARY)", "mysql")
    .where(WORKERS.c.id == bindparam("worker"))
    .with_for_update()
)
_START = (
    update(TASKS)
    .with_hint("FORCE INDEX (PRIMARY)", dialect_name="mysql")
    .where(TASKS.c.id.in_(bindparam("task_ids", expanding=True)))
    .values(
        status=Status.PROCESSING,
        attempt=TASKS.c.attempt + 1,
        worker_id=bindparam("worker"),
        started_at=Now(),
        progress=None,
        progress_note=None,
        updated_at=Now(),
    )
)


class LeaseLost(Exception):
    """This worker's row is gone: it was taken for dead, and its tasks were taken away."""


@dataclass(frozen=True)
class Claim:
    """What came of a claim. Ids in neither field need no work any more, or not from us."""

    attempts: list[Attempt] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)


class TaskStore:
    """What the worker does with tasks. ``use_outbox`` is False where there is no broker."""

    def __init__(
        self,
        engine: Engine,
        types: Sequence[str],
        *,
        use_outbox: bool,
        isolated: Collection[str] = (),
    ) -> None:
        """``types`` are those that this worker serves, ``isolated`` those of them that run in
        processes of their own and so endanger nothing but themselves."""
        self._engine = engine
        self._types = list(types)
        self._isolated = frozenset(isolated)
        self._use_outbox = use_outbox

    def claim(self, worker_id: str, task_ids: Sequence[str], *, take_suspect: bool) -> Claim:
        """Make those tasks PROCESSING that are PENDING, due and of our types.

        No ``SKIP LOCKED`` here: locked is not deleted. With ``take_suspect`` one task that has
        cost a worker before may be among them, otherwise none.

        Raises:
            LeaseLost: the worker must start over under a new id.
        """
        with self._engine.begin() as connection:
            named = {"worker": worker_id, "task_ids": sorted(set(task_ids))}
            rows = connection.execute(_LOCK_FOR_CLAIM, named).all()
            if not rows:
                raise LeaseLost(worker_id)
            wanted = [row for row in rows if row.is_due and row.type in self._types]
            attempts = self._start(connection, worker_id, self._pick(wanted, take_suspect))
        return Claim(attempts, set(task_ids) - {row.id for row in rows})

    def claim_overdue(
        self, worker_id: str, limit: int, overdue_seconds: float, *, take_suspect: bool
    ) -> list[Attempt]:
        """Claim what should have been running for so long: high before low, oldest first.

        The tasks' outbox rows go in the same transaction, since nothing needs to be published
        for them any more.

        Raises:
            LeaseLost: the worker must start over under a new id.
        """
        with self._engine.begin() as connection:
            due = _hold_lease(connection, worker_id) - timedelta(seconds=overdue_seconds)
            rows: list[Row[Any]] = []
            for priority in sorted(PRIORITIES.values()):
                room = limit - len(rows)
                if room == 0:
                    break
                found = self._overdue(connection, priority, due, room, innocent=not take_suspect)
                picked = self._pick(found, take_suspect)
                if len(picked) < len(found):
                    # Suspects that must wait are not to stand in the way of those behind them.
                    suspect = [row for row in picked if self._is_suspect(row)]
                    innocent = room - len(suspect)
                    picked = suspect + list(
                        self._overdue(connection, priority, due, innocent, innocent=True)
                    )
                rows += picked
                take_suspect = take_suspect and not any(map(self._is_suspect, picked))
            attempts = self._start(connection, worker_id, rows)
            if attempts and self._use_outbox:
                delete_by_id(connection, [row.id for row in rows])
        return attempts

    def finish(
        self, decisions: Mapping[Fence, Decision], progress: Mapping[Fence, Progress] = _NO_PROGRESS
    ) -> dict[Fence, Status]:
        """Write decisions; return the new status of those whose attempt was still current."""
        if not decisions:
            return {}
        plain = plain_results(decisions, progress)
        if len(plain) == len(decisions) and self._complete(plain):
            return dict.fromkeys(plain, Status.COMPLETED)
        with self._engine.begin() as connection:
            return settle(connection, decisions, progress, use_outbox=self._use_outbox)

    def write_progress(self, latest: Mapping[Fence, Progress]) -> None:
        """Write how far attempts are; those that are no longer current change nothing."""
        with self._engine.begin() as connection:
            instant = now(connection)
            connection.execute(
                _PROGRESS,
                [
                    {
                        "task_id": fence.task_id,
                        "number": fence.number,
                        "percent": latest[fence].percent,
                        "note": latest[fence].note,
                        "instant": instant,
                    }
                    for fence in sorted(latest)
                ],
            )

    def give_back(self, fences: Collection[Fence], reason: str) -> dict[Fence, Status]:
        """Return attempts unfinished, for anybody to claim at once."""
        return self.finish(dict.fromkeys(fences, release(reason)))

    def _complete(self, results: Mapping[Fence, Any]) -> bool:
        """Complete the tasks without a look at them; undo it all if an attempt was not current."""
        with self._engine.connect() as connection:
            all_current = complete(connection, results)
            if all_current:
                connection.commit()
            return all_current

    def _overdue(
        self, connection: Connection, priority: int, due: datetime, limit: int, *, innocent: bool
    ) -> Sequence[Any]:
        """Lock the oldest that are overdue at a priority, passing over what others have locked."""
        query = (
            select(*_CLAIMED)
            .with_hint(TASKS, "FORCE INDEX (tasks_due)", "mysql")
            .where(
                TASKS.c.status == Status.PENDING,
                TASKS.c.priority == priority,
                TASKS.c.run_at <= due,
                TASKS.c.type.in_(self._types),
            )
            .order_by(TASKS.c.run_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        if innocent:
            query = query.where(or_(TASKS.c.crashes == 0, TASKS.c.type.in_(self._isolated)))
        return connection.execute(query).all()

    def _is_suspect(self, row: Row[Any]) -> bool:
        return row.crashes > 0 and row.type not in self._isolated

    def _pick(self, rows: Sequence[Row[Any]], take_suspect: bool) -> list[Row[Any]]:
        """Leave out the tasks that cost a worker before, but for one if that is wanted.

        So a poisonous task takes no others with it more than once.
        """
        suspects = list(filter(self._is_suspect, rows))
        left_out = {row.id for row in (suspects[1:] if take_suspect else suspects)}
        return [row for row in rows if row.id not in left_out]

    def _start(
        self, connection: Connection, worker_id: str, rows: Sequence[Row[Any]]
    ) -> list[Attempt]:
        if not rows:
            return []
        connection.execute(
            _START, {"task_ids": sorted(row.id for row in rows), "worker": worker_id}
        )
        return [_attempt(row, suspect=self._is_suspect(row)) for row in rows]


def _hold_lease(connection: Connection, worker_id: str) -> datetime:
    """Keep our own row in place until the claim is committed: who buries us waits for it.

    Returns the database's now.
    """
    instant = connection.scalar(_LEASE, {"worker": worker_id})
    if instant is None:
        raise LeaseLost(worker_id)
    return instant


def _attempt(row: Row[Any], *, suspect: bool) -> Attempt:
    return Attempt(
        fence=Fence(row.id, row.attempt + 1),
        type=row.type,
        title=row.title,
        description=row.description,
        details=row.details,
        counts=Counts(row.errors, row.crashes, row.max_attempts),
        timeout_seconds=row.timeout_seconds,
        suspect=suspect,
        wants_webhook=row.callback_url is not None,
    )
