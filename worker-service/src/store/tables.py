"""The columns of ``db/init.sql`` that the worker reads or writes."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Enum,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import mysql

from src.contract import Status

_ID = String(36)
_INSTANT = DateTime().with_variant(mysql.DATETIME(fsp=3), "mysql")
_STAMP = DateTime().with_variant(mysql.TIMESTAMP(fsp=3), "mysql")
_SMALL = Integer().with_variant(mysql.TINYINT(), "mysql")
_JSON = JSON(none_as_null=True)

SCHEMA = MetaData()

TASKS = Table(
    "tasks",
    SCHEMA,
    Column("id", _ID, primary_key=True),
    Column("title", String(255), nullable=False),
    Column("description", Text, nullable=False),
    Column("status", Enum(*[s.value for s in Status], name="task_status"), nullable=False),
    Column("metadata", _JSON, key="details"),
    Column("created_at", _STAMP, nullable=False, server_default=text("CURRENT_TIMESTAMP")),
    Column("updated_at", _STAMP, nullable=False),
    Column("completed_at", _STAMP),
    Column("type", String(64), nullable=False),
    Column("priority", _SMALL, nullable=False),
    Column("run_at", _INSTANT, nullable=False),
    Column("max_attempts", Integer),
    Column("timeout_seconds", Integer),
    Column("attempt", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("worker_id", _ID),
    Column("started_at", _INSTANT),
    Column("cancel_requested", Boolean, nullable=False),
    Column("progress", _SMALL),
    Column("progress_note", String(255)),
    Column("result", _JSON),
    Column("error", Text),
    Column("callback_url", Text),
    Column("submitted_by", String(64)),
)

OUTBOX = Table(
    "outbox",
    SCHEMA,
    Column("task_id", _ID, primary_key=True),
    Column("due_at", _INSTANT, nullable=False),
    Column("handed", Boolean, nullable=False),
)

ATTEMPTS = Table(
    "attempts",
    SCHEMA,
    Column("task_id", _ID, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("worker_id", _ID),
    Column("started_at", _INSTANT),
    Column("finished_at", _INSTANT, nullable=False),
    Column(
        "outcome",
        Enum("error", "timeout", "worker_lost", "cancelled", "released", name="outcome"),
        nullable=False,
    ),
    Column("error", Text),
    Column("traceback", Text),
)

WORKERS = Table(
    "workers",
    SCHEMA,
    Column("id", _ID, primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", _INSTANT, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("beat_at", _INSTANT, nullable=False),
    Column("lease_seconds", Double, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("busy", Integer, nullable=False),
    Column("processed", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("types", _JSON, nullable=False),
)

TASK_TYPES = Table(
    "task_types",
    SCHEMA,
    Column("name", String(64), primary_key=True),
    Column("description", Text),
    Column("payload_schema", _JSON),
    Column("max_attempts", Integer),
    Column("timeout_seconds", Integer),
    Column("updated_at", _INSTANT, nullable=False),
)
