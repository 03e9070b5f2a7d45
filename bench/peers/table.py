"""The tasks table in SQLAlchemy Core, for the peers that use it."""

import os
from uuid import uuid4

from sqlalchemy import JSON, Column, MetaData, String, Table, Text, create_engine, func

from bench.peers.http_api import NewTask

TASKS = Table(
    "tasks",
    MetaData(),
    Column("id", String(36), primary_key=True),
    Column("title", String(255)),
    Column("description", Text),
    Column("status", String(10)),
    Column("metadata", JSON),
    Column("completed_at"),
)
# One connection for each thread of the API: those beyond a pool are opened and closed again.
ENGINE = create_engine(os.environ["DATABASE_URL"], pool_size=40, max_overflow=0)


def insert_task(task: NewTask) -> str:
    task_id = str(uuid4())
    row = task.model_dump() | {"id": task_id, "status": "PENDING"}
    with ENGINE.begin() as connection:
        connection.execute(TASKS.insert(), row)
    return task_id


def work_on(task_id: str) -> None:
    """Run a task: its work takes no time."""
    this = TASKS.update().where(TASKS.c.id == task_id)
    with ENGINE.begin() as connection:
        connection.execute(this.values(status="PROCESSING"))
    with ENGINE.begin() as connection:
        connection.execute(this.values(status="COMPLETED", completed_at=func.now()))
