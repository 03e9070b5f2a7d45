"""Who works, on what, and what they can do."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, select

from src.contract import Status
from src.db.dialect import now
from src.models.tables import Task, TaskType, Worker
from src.services.explain import is_live

#: Running tasks that are told of, over all workers.
MAX_RUNNING = 1_000


@dataclass(frozen=True)
class Workforce:
    """Workers by their start, and of each the tasks that are PROCESSING under its id."""

    now: datetime
    workers: list[RowMapping]
    running: dict[str, list[RowMapping]]


@dataclass(frozen=True)
class KnownType:
    """A type that some worker told of, and how many live ones serve it now."""

    row: RowMapping
    live_workers: int


def read_workforce(connection: Connection) -> Workforce:
    tasks = (
        select(
            Task.id, Task.title, Task.type, Task.attempt, Task.worker_id, Task.started_at,
            Task.progress, Task.progress_note,
        )
        .with_hint(Task, "FORCE INDEX (tasks_changed)", "mysql")
        .where(Task.status == Status.PROCESSING)
        .limit(MAX_RUNNING)
    )  # fmt: skip
    running: dict[str, list[RowMapping]] = defaultdict(list)
    for row in connection.execute(tasks).mappings():
        running[row["worker_id"]].append(row)
    return Workforce(now(connection), _workers(connection), running)


def read_types(connection: Connection) -> list[KnownType]:
    """Read the catalogue by name; the built-in type is among them once a worker has started."""
    instant = now(connection)
    live = [worker for worker in _workers(connection) if is_live(worker, instant)]
    query = select(*TaskType.__table__.columns).order_by(TaskType.name)
    return [
        KnownType(row, sum(row["name"] in worker["types"] for worker in live))
        for row in connection.execute(query).mappings()
    ]


def _workers(connection: Connection) -> list[RowMapping]:
    query = select(*Worker.__table__.columns).order_by(Worker.started, Worker.id)
    return list(connection.execute(query).mappings())
