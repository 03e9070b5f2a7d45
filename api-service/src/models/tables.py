"""The tables of ``db/init.sql`` as the API uses them; on SQLite they are made from here."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Enum, Float, Index, Integer, String, Text, text
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from src.contract import DEFAULT_PRIORITY, DEFAULT_TYPE, Status

_ID = String(36).with_variant(mysql.VARCHAR(36, charset="ascii", collation="ascii_bin"), "mysql")
_NAME = String(64).with_variant(mysql.VARCHAR(64, charset="ascii", collation="ascii_bin"), "mysql")
_KEY = String(255).with_variant(mysql.VARCHAR(255, charset="ascii", collation="ascii_bin"), "mysql")
_INSTANT = DateTime().with_variant(mysql.DATETIME(fsp=3), "mysql")
_STAMP = DateTime().with_variant(mysql.TIMESTAMP(fsp=3), "mysql")
_SMALL = Integer().with_variant(mysql.TINYINT(), "mysql")
_REAL = Float().with_variant(mysql.DOUBLE(asdecimal=False), "mysql")
_JSON = JSON(none_as_null=True)
#: For the tables made on SQLite; to the last digit as SQLAlchemy writes times.
_NOW = text("(strftime('%Y-%m-%d %H:%M:%f000', 'now'))")


class Base(DeclarativeBase):
    """All that SQLite needs at its first start."""


class Task(Base):
    __tablename__ = "tasks"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    title: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(
        Enum(*[status.value for status in Status], name="task_status"),
        server_default=Status.PENDING,
    )
    #: SQLAlchemy keeps the name ``metadata`` of a mapped class for itself.
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", _JSON)
    created_at: Mapped[datetime] = mapped_column(_STAMP, server_default=_NOW)
    updated_at: Mapped[datetime] = mapped_column(_STAMP, server_default=_NOW)
    completed_at: Mapped[datetime | None] = mapped_column(_STAMP)
    type: Mapped[str] = mapped_column(_NAME, server_default=DEFAULT_TYPE)
    priority: Mapped[int] = mapped_column(_SMALL, server_default=str(DEFAULT_PRIORITY))
    run_at: Mapped[datetime] = mapped_column(_INSTANT, server_default=_NOW)
    max_attempts: Mapped[int | None]
    timeout_seconds: Mapped[int | None]
    attempt: Mapped[int] = mapped_column(server_default="0")
    errors: Mapped[int] = mapped_column(server_default="0")
    crashes: Mapped[int] = mapped_column(server_default="0")
    worker_id: Mapped[str | None] = mapped_column(_ID)
    started_at: Mapped[datetime | None] = mapped_column(_INSTANT)
    cancel_requested: Mapped[bool] = mapped_column(server_default="0")
    progress: Mapped[int | None] = mapped_column(_SMALL)
    progress_note: Mapped[str | None] = mapped_column(String(255))
    result: Mapped[Any | None] = mapped_column(_JSON)
    error: Mapped[str | None] = mapped_column(Text)
    idempotency_key: Mapped[str | None] = mapped_column(_KEY, unique=True)
    request_hash: Mapped[str | None] = mapped_column(_NAME)
    callback_url: Mapped[str | None] = mapped_column(Text)
    traceparent: Mapped[str | None] = mapped_column(_NAME)
    submitted_by: Mapped[str | None] = mapped_column(_NAME)

    __table_args__ = (
        Index("tasks_due", "status", "priority", "run_at"),
        Index("tasks_changed", "status", "updated_at", "type"),
        Index("tasks_listed", "status", "priority", "id", "type"),
        Index("tasks_typed", "type", "status", "priority", "id"),
    )


class Outbox(Base):
    """A promise: the message of this task is still to be sent, once it is due."""

    __tablename__ = "outbox"

    task_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    due_at: Mapped[datetime] = mapped_column(_INSTANT)
    handed: Mapped[bool] = mapped_column(server_default="0")

    __table_args__ = (Index("outbox_due", "due_at"),)


class Attempt(Base):
    """An attempt that did not succeed."""

    __tablename__ = "attempts"

    task_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    worker_id: Mapped[str | None] = mapped_column(_ID)
    started_at: Mapped[datetime | None] = mapped_column(_INSTANT)
    finished_at: Mapped[datetime] = mapped_column(_INSTANT)
    outcome: Mapped[str] = mapped_column(
        Enum("error", "timeout", "worker_lost", "cancelled", "released", name="outcome")
    )
    error: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)


class Worker(Base):
    """A worker process and the lease of all its tasks."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    started: Mapped[datetime] = mapped_column(_INSTANT)
    beat: Mapped[int] = mapped_column(
        Integer().with_variant(mysql.BIGINT(), "mysql"), server_default="0"
    )
    beat_at: Mapped[datetime] = mapped_column(_INSTANT)
    lease_seconds: Mapped[float] = mapped_column(_REAL)
    max_attempts: Mapped[int]
    concurrency: Mapped[int]
    busy: Mapped[int] = mapped_column(server_default="0")
    processed: Mapped[int] = mapped_column(
        Integer().with_variant(mysql.BIGINT(), "mysql"), server_default="0"
    )
    failed: Mapped[int] = mapped_column(
        Integer().with_variant(mysql.BIGINT(), "mysql"), server_default="0"
    )
    types: Mapped[Any] = mapped_column(_JSON)


class TaskType(Base):
    """What a worker said at its start that it can run."""

    __tablename__ = "task_types"

    name: Mapped[str] = mapped_column(_NAME, primary_key=True)
    description: Mapped[str | None] = mapped_column(Text)
    payload_schema: Mapped[Any | None] = mapped_column(_JSON)
    max_attempts: Mapped[int | None]
    timeout_seconds: Mapped[int | None]
    updated_at: Mapped[datetime] = mapped_column(_INSTANT)


class TaskMinute(Base):
    """How many tasks came and ended in a minute."""

    __tablename__ = "task_minutes"

    minute: Mapped[datetime] = mapped_column(_INSTANT, primary_key=True)
    submitted: Mapped[int]
    completed: Mapped[int]
    failed: Mapped[int]
    cancelled: Mapped[int]
