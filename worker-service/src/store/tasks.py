"""The life of a task as statements: claim, finish. Each method is one transaction."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from src.contract import PRIORITIES, Status
from src.decision import Decision, release
from src.kept import Kept
from src.outcome import Progress
from src.store.attempts import Attempt, Fence
from src.store.candidates import Candidate, lock_named, lock_overdue, mark_started
from src.store.complete import complete, complete_alone, plain_results
from src.store.dialect import Now, delete_by_id, now
from src.store.leases import LeaseLost
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
_LEASE = select(Now()).where(WORKERS.c.id == bindparam("worker")).with_for_update(read=True)


@dataclass(frozen=True)
class Claim:
    """What came of a claim. Ids in neither field need no work any more, or not from us."""

    attempts: list[Attempt] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)


class TaskStore:
    """What the worker does with tasks. ``use_outbox`` is False where there is no broker."""

    def __init__(
        self,
        kept: Kept,
        types: Sequence[str],
        *,
        use_outbox: bool,
        isolated: Collection[str] = (),
    ) -> None:
        """``types`` are those that this worker serves, ``isolated`` those of them that run in
        processes of their own and so endanger nothing but themselves."""
        self._kept = kept
        self._types = list(types)
        self._isolated = frozenset(isolated)
        self._use_outbox = use_outbox

    def claim(self, worker_id: str, task_ids: Sequence[str], *, take_suspect: bool) -> Claim:
        """Make those tasks PROCESSING that are PENDING, due and of our types.

        With ``take_suspect`` one task that has cost a worker before may be among them, otherwise
        none.

        Raises:
            LeaseLost: the worker must start over under a new id.
        """
        with self._kept.begin() as connection:
            found = lock_named(connection, worker_id, set(task_ids))
            wanted = [task for task in found if task.is_due and task.type in self._types]
            picked = self._pick(wanted, take_suspect)
            attempts = self._start(connection, worker_id, picked, commit=True)
        return Claim(attempts, set(task_ids) - {task.id for task in found})

    def claim_overdue(
        self, worker_id: str, limit: int, overdue_seconds: float, *, take_suspect: bool
    ) -> list[Attempt]:
        """Claim what should have been running for so long: high before low, oldest first.

        The tasks' outbox rows go in the same transaction, since nothing needs to be published
        for them any more.

        Raises:
            LeaseLost: the worker must start over under a new id.
        """
        with self._kept.begin() as connection:
            due = _hold_lease(connection, worker_id) - timedelta(seconds=overdue_seconds)
            tasks: list[Candidate] = []
            for priority in sorted(PRIORITIES.values()):
                room = limit - len(tasks)
                if room == 0:
                    break
                found = self._overdue(connection, priority, due, room, innocent=not take_suspect)
                picked = self._pick(found, take_suspect)
                if len(picked) < len(found):
                    # Suspects that must wait are not to stand in the way of those behind them.
                    suspect = [task for task in picked if self._is_suspect(task)]
                    innocent = room - len(suspect)
                    picked = suspect + self._overdue(
                        connection, priority, due, innocent, innocent=True
                    )
                tasks += picked
                take_suspect = take_suspect and not any(map(self._is_suspect, picked))
            attempts = self._start(connection, worker_id, tasks, commit=False)
            if attempts and self._use_outbox:
                delete_by_id(connection, [task.id for task in tasks])
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
        with self._kept.begin() as connection:
            return settle(connection, decisions, progress, use_outbox=self._use_outbox)

    def write_progress(self, latest: Mapping[Fence, Progress]) -> None:
        """Write how far attempts are; those that are no longer current change nothing."""
        with self._kept.begin() as connection:
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
        with self._kept.begin() as connection:
            if len(results) == 1:
                return complete_alone(connection, results)
            all_current = complete(connection, results)
            if not all_current:
                connection.rollback()
            return all_current

    def _overdue(
        self, connection: Connection, priority: int, due: datetime, limit: int, *, innocent: bool
    ) -> list[Candidate]:
        return lock_overdue(
            connection,
            self._types,
            priority,
            due,
            limit,
            isolated=self._isolated,
            innocent=innocent,
        )

    def _is_suspect(self, task: Candidate) -> bool:
        return task.crashes > 0 and task.type not in self._isolated

    def _pick(self, tasks: list[Candidate], take_suspect: bool) -> list[Candidate]:
        """Leave out the tasks that cost a worker before, but for one if that is wanted.

        So a poisonous task takes no others with it more than once.
        """
        suspects = list(filter(self._is_suspect, tasks))
        left_out = {task.id for task in (suspects[1:] if take_suspect else suspects)}
        return [task for task in tasks if task.id not in left_out] if left_out else tasks

    def _start(
        self, connection: Connection, worker_id: str, tasks: Sequence[Candidate], *, commit: bool
    ) -> list[Attempt]:
        attempts = [task.claimed(suspect=self._is_suspect(task)) for task in tasks]
        if attempts:
            mark_started(connection, worker_id, [task.id for task in tasks], commit=commit)
        return attempts


def _hold_lease(connection: Connection, worker_id: str) -> datetime:
    """Keep our own row in place until the claim is committed: who buries us waits for it.

    Returns the database's now.
    """
    instant = connection.scalar(_LEASE, {"worker": worker_id})
    if instant is None:
        raise LeaseLost(worker_id)
    return instant
