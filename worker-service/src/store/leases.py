"""Workers as the table knows them: signs of life, and what happens to the tasks of the dead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update

from src.contract import Status
from src.decision import Counts, lose
from src.kept import Kept
from src.store.attempts import Fence
from src.store.dialect import now, upsert
from src.store.settle import LOCK_FOR_SETTLING, settle
from src.store.tables import TASK_TYPES, TASKS, WORKERS


class LeaseLost(Exception):
    """This worker's row is gone: it was taken for dead, and its tasks were taken away."""


@dataclass(frozen=True)
class Load:
    """What a worker tells of itself with each beat."""

    busy: int
    processed: int
    failed: int


@dataclass(frozen=True)
class Beat:
    """What a heartbeat found: our PROCESSING rows with their cancel flag, everyone's beats."""

    claimed: dict[Fence, bool]
    beats: dict[str, int]


class LeaseStore:
    """The statements of the heartbeat thread. Each method is one transaction."""

    def __init__(self, kept: Kept, *, use_outbox: bool) -> None:
        self._kept = kept
        self._use_outbox = use_outbox

    def register(self, worker_id: str, about: Mapping[str, Any]) -> None:
        """Make this worker's row. ``about``: host, pid, concurrency, types,
        lease_seconds, max_attempts."""
        with self._kept.begin() as connection:
            instant = now(connection)
            connection.execute(
                insert(WORKERS).values(
                    id=worker_id,
                    started=instant,
                    beat=0,
                    beat_at=instant,
                    busy=0,
                    processed=0,
                    failed=0,
                    **about,
                )
            )

    def publish_types(self, types: Sequence[Mapping[str, Any]], *, overwrite: bool) -> None:
        """Tell clients what this worker can run; without ``overwrite`` only what is missing.

        ``types``: of each its name, description, payload_schema, max_attempts, timeout_seconds.
        """
        with self._kept.begin() as connection:
            there = set() if overwrite else set(connection.scalars(select(TASK_TYPES.c.name)))
            instant = now(connection)
            rows = [{**t, "updated_at": instant} for t in types if t["name"] not in there]
            if rows:
                upsert(connection, TASK_TYPES, rows)

    def beat(self, worker_id: str, load: Load) -> Beat | None:
        """Give a sign of life; return None if nobody expects one any more."""
        with self._kept.begin() as connection:
            # For people only: a clock that jumps must not bury anybody.
            instant = now(connection)
            counted = connection.execute(
                update(WORKERS)
                .where(WORKERS.c.id == worker_id)
                .values(
                    beat=WORKERS.c.beat + 1,
                    beat_at=instant,
                    busy=load.busy,
                    processed=load.processed,
                    failed=load.failed,
                )
            )
            if counted.rowcount == 0:
                return None
            claimed = connection.execute(_claimed_by(worker_id))
            beats = connection.execute(select(WORKERS.c.id, WORKERS.c.beat))
            return Beat(
                {Fence(row.id, row.attempt): row.cancel_requested for row in claimed},
                {row.id: row.beat for row in beats},
            )

    def claimed(self, worker_id: str) -> list[Fence]:
        """Return what is PROCESSING under this worker's id."""
        with self._kept.begin() as connection:
            rows = connection.execute(_claimed_by(worker_id))
            return [Fence(row.id, row.attempt) for row in rows]

    def bury(self, worker_id: str, beat: int) -> dict[Fence, Status] | None:
        """Delete a dead worker's row and take its tasks away.

        Returns None if its beat has grown, or another one was faster.

        A claim holds the row shared until it commits: so either we see what it claimed, or it
        finds the row gone.
        """
        with self._kept.begin() as connection:
            dead = connection.scalar(
                select(WORKERS.c.id)
                .where(WORKERS.c.id == worker_id, WORKERS.c.beat == beat)
                .with_for_update()
            )
            if dead is None:
                return None
            connection.execute(delete(WORKERS).where(WORKERS.c.id == worker_id))
            ids = connection.scalars(_claimed_by(worker_id)).all()
            return self._take_away(connection, ids, {worker_id})

    def take_orphans(self) -> dict[Fence, Status]:
        """Take away what is PROCESSING under an id that has no row.

        One statement finds them: ids are never used again and a worker's row precedes its
        claims, so in one snapshot there is no such task of a living worker.
        """
        with self._kept.begin() as connection:
            orphans = connection.execute(
                select(TASKS.c.id, TASKS.c.worker_id)
                .outerjoin_from(TASKS, WORKERS, TASKS.c.worker_id == WORKERS.c.id)
                .where(TASKS.c.status == Status.PROCESSING, WORKERS.c.id.is_(None))
            ).all()
            return self._take_away(
                connection, [row.id for row in orphans], {row.worker_id for row in orphans}
            )

    def sign_off(self, worker_id: str) -> None:
        """Delete this worker's row. It must have nothing PROCESSING any more."""
        with self._kept.begin() as connection:
            connection.execute(delete(WORKERS).where(WORKERS.c.id == worker_id))

    def _take_away(
        self, connection: Connection, task_ids: Sequence[str], dead: set[str]
    ) -> dict[Fence, Status]:
        if not task_ids:
            return {}
        decisions = {}
        for row in connection.execute(LOCK_FOR_SETTLING, {"task_ids": sorted(task_ids)}):
            # Looked at again under the lock: it may have been claimed by a living worker since.
            if row.status == Status.PROCESSING and row.worker_id in dead:
                counts = Counts(row.errors, row.crashes, row.max_attempts)
                decisions[Fence(row.id, row.attempt)] = lose(row.worker_id, counts)
        return settle(connection, decisions, {}, use_outbox=self._use_outbox)


def _claimed_by(worker_id: str) -> Select[Any]:
    return select(TASKS.c.id, TASKS.c.attempt, TASKS.c.cancel_requested).where(
        TASKS.c.status == Status.PROCESSING, TASKS.c.worker_id == worker_id
    )
