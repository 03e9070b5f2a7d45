"""The databases, and the store on each of them."""

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select, update

from src.contract import Status
from src.decision import RetryPolicy
from src.execution import Finished
from src.executor import Executor
from src.handlers.call import call
from src.handlers.context import Context
from src.handlers.declare import Handler
from src.handlers.simulate import make_simulate
from src.kept import Kept
from src.outcome import Outcome, Progress
from src.store.attempts import Fence
from src.store.dialect import make_engine, now
from src.store.leases import LeaseStore
from src.store.tables import OUTBOX, SCHEMA, TASKS, WORKERS
from src.store.tasks import TaskStore

POLICY = RetryPolicy(max_attempts=3, base_seconds=2, max_seconds=300)


def make_executor(
    *handlers: Handler,
    concurrency: int = 2,
    run: Callable[[Handler, Any, Context], Outcome] = call,
    limit_seconds: float = 3600,
    patience_seconds: float = 3600,
    may_start: Callable[[], bool] = lambda: True,
    finished: Callable[[Finished], None] = lambda _finished: None,
    finished_alone: Callable[[Finished], None] | None = None,
    slot_freed: Callable[[], None] = lambda: None,
    report: Callable[[Fence, Progress], None] = lambda _fence, _progress: None,
    worn_out: Callable[[], None] = lambda: None,
) -> Executor:
    """Make an executor that serves ``simulate``, and these handlers."""
    every = (make_simulate(0, None), *handlers)
    return Executor(
        concurrency,
        {handler.name: handler for handler in every},
        run,
        limit_seconds=limit_seconds,
        patience_seconds=patience_seconds,
        may_start=may_start,
        finished=finished,
        finished_alone=finished_alone or finished,
        slot_freed=slot_freed,
        report=report,
        worn_out=worn_out,
    )


@dataclass
class Bench:
    """A database with a registered worker, and hands to put tasks in and look at them."""

    engine: Engine
    tasks: TaskStore
    leases: LeaseStore
    worker_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def register(self, worker_id: str) -> str:
        about = {
            "host": "h",
            "pid": 1,
            "concurrency": 1,
            "lease_seconds": 15,
            "max_attempts": 3,
            "types": ["simulate"],
        }
        self.leases.register(worker_id, about)
        return worker_id

    def add(self, *, due_in_seconds: float = -60, outbox: bool = False, **columns: Any) -> str:
        """Put in a task that is PENDING and overdue unless the columns say otherwise."""
        task_id = str(columns.pop("id", uuid.uuid4()))
        with self.engine.begin() as connection:
            instant = now(connection)
            run_at = instant + timedelta(seconds=due_in_seconds)
            row = {
                "id": task_id,
                "title": "t",
                "description": "d",
                "status": Status.PENDING,
                "updated_at": instant,
                "type": "simulate",
                "priority": 1,
                "run_at": run_at,
                "attempt": 0,
                "errors": 0,
                "crashes": 0,
                "cancel_requested": False,
                **columns,
            }
            connection.execute(insert(TASKS).values(row))
            if outbox:
                connection.execute(
                    insert(OUTBOX).values(task_id=task_id, due_at=run_at, handed=True)
                )
        return task_id

    def running(self, **columns: Any) -> str:
        """Put in a task that this worker runs as attempt 1."""
        columns = {"worker_id": self.worker_id, "attempt": 1, **columns}
        return self.add(status=Status.PROCESSING, **columns)

    def task(self, task_id: str) -> Any:
        with self.engine.begin() as connection:
            return connection.execute(select(TASKS).where(TASKS.c.id == task_id)).one()

    def change(self, task_id: str, **columns: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(update(TASKS).where(TASKS.c.id == task_id).values(**columns))

    def rows(self, table: Any) -> Sequence[Any]:
        with self.engine.begin() as connection:
            return connection.execute(select(table)).all()

    def now(self) -> datetime:
        with self.engine.begin() as connection:
            return now(connection)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a ``bench`` on every database that is there; ./dev tells what is not."""
    if "database" in metafunc.fixturenames:
        if metafunc.definition.get_closest_marker("real_server"):
            metafunc.parametrize("database", ["real"])
            return
        real = ["real"] if os.environ.get("TEST_DATABASE_URL") else []
        metafunc.parametrize("database", ["sqlite", *real])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is about the locks of a real server where there is none."""
    if not os.environ.get("TEST_DATABASE_URL"):
        items[:] = [item for item in items if not item.get_closest_marker("real_server")]


@pytest.fixture
def bench(database: str, tmp_path: Path) -> Iterator[Bench]:
    url = os.environ["TEST_DATABASE_URL"] if database == "real" else f"sqlite:///{tmp_path}/t.db"
    engine = make_engine(url, connections=5, statement_seconds=10)
    if database == "sqlite":
        SCHEMA.create_all(engine)
    else:
        with engine.begin() as connection:
            for table in SCHEMA.sorted_tables:
                connection.execute(delete(table))
    kept = Kept(engine, stale_seconds=60)
    bench = Bench(
        engine,
        TaskStore(kept, ["simulate"], use_outbox=True),
        LeaseStore(kept, use_outbox=True),
    )
    bench.register(bench.worker_id)
    yield bench
    kept.close()
    engine.dispose()


def workers(bench: Bench) -> set[str]:
    return {row.id for row in bench.rows(WORKERS)}
