"""All that differs between MySQL, MariaDB and SQLite."""

import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    DateTime,
    Engine,
    Table,
    Text,
    create_engine,
    event,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.functions import FunctionElement

from src.prepared import READ_ONLY, take_several

#: Seconds to wait for a row lock. Longer than anything here holds one.
LOCK_WAIT_SECONDS = 3
#: Seconds until a connection stands.
CONNECT_SECONDS = 3.0
#: Seconds after which the server ends a silent session. A process that was frozen inside a
#: transaction holds its row locks no longer than this; an idle connection is simply made anew.
IDLE_SECONDS = 15
#: Seconds after which one that was idle is made anew before it is used.
STALE_SECONDS = IDLE_SECONDS * 2 / 3

#: The server refuses a value: too long, out of range, no JSON, too deep, too large a packet.
#: PyMySQL makes an OperationalError of every code that it does not know, so the class alone tells
#: too little; and everything that is not one of these passes, or a person mends it.
_REFUSED = frozenset({1153, 1264, 1292, 1366, 1406, *range(3140, 3159), 4025, 4035, 4038})


def make_engine(
    url: str,
    *,
    connections: int,
    statement_seconds: float,
    lock_wait_seconds: int = LOCK_WAIT_SECONDS,
) -> Engine:
    """Make an engine whose every wait has a limit. Connects to nothing yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, connections)
    engine = create_engine(
        parsed,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_use_lifo=True,
        pool_timeout=statement_seconds,
        # Every transaction here is ended by its block: another rollback would be a round trip.
        pool_reset_on_return=None,
        connect_args={
            "connect_timeout": min(CONNECT_SECONDS, statement_seconds),
            "read_timeout": statement_seconds,
            "write_timeout": statement_seconds,
            "init_command": (
                f"SET time_zone = '+00:00', wait_timeout = {IDLE_SECONDS},"
                f" innodb_lock_wait_timeout = {lock_wait_seconds}"
            ),
        },
    )
    take_several(engine)
    event.listen(engine, "handle_error", _leave_read_only_servers)
    event.listen(engine, "checkin", _note_idleness)
    event.listen(engine, "checkout", _replace_idle)
    return engine


class Now(FunctionElement[datetime]):
    """The database's time, one value in all of a statement: UTC, to the millisecond, no zone.

    Every time in the tables comes from here, so that no clock of two machines is compared.
    """

    type = DateTime()
    name = "now"
    inherit_cache = True


@compiles(Now)
def _write_now(_element: Now, _compiler: Any, **_: Any) -> str:
    return "NOW(3)"


@compiles(Now, "sqlite")
def _write_now_for_sqlite(_element: Now, _compiler: Any, **_: Any) -> str:
    # To the last digit as SQLAlchemy writes them: there times are compared as texts.
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


class Spaced(FunctionElement[str]):
    """Values as one text, with spaces between them; nothing if one of them is nothing."""

    type = Text()
    name = "spaced"
    inherit_cache = True


@compiles(Spaced)
def _write_spaced(element: Spaced, compiler: Any, **options: Any) -> str:
    parts = [compiler.process(part, **options) for part in element.clauses]
    return "CONCAT(" + ", ' ', ".join(parts) + ")"


@compiles(Spaced, "sqlite")
def _write_spaced_for_sqlite(element: Spaced, compiler: Any, **options: Any) -> str:
    parts = [f"({compiler.process(part, **options)})" for part in element.clauses]
    return " || ' ' || ".join(parts)


_NOW = select(Now())


def now(connection: Connection) -> datetime:
    """Ask the database for the time, where a statement's own is not enough."""
    instant: datetime | None = connection.scalar(_NOW)
    assert instant  # noqa: S101 - for the type checker
    return instant


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; where the primary key is there already, write the other columns over."""
    others = [name for name in rows[0] if not table.c[name].primary_key]
    if connection.dialect.name == "sqlite":
        lite = sqlite.insert(table)
        connection.execute(
            lite.on_conflict_do_update(
                index_elements=list(table.primary_key),
                set_={name: lite.excluded[name] for name in others},
            ),
            list(rows),
        )
    else:
        my = mysql.insert(table)
        connection.execute(
            my.on_duplicate_key_update({name: my.inserted[name] for name in others}), list(rows)
        )


def delete_by_id(connection: Connection, ids: Sequence[str]) -> None:
    """Delete the outbox rows of these tasks, touching no other row's lock.

    ``DELETE … IN (…)`` scans a small table and waits for strangers; a join by key does not.
    """
    parameters = {f"id{n}": task_id for n, task_id in enumerate(sorted(ids))}
    if connection.dialect.name == "sqlite":
        places = ", ".join(f":{name}" for name in parameters)
        connection.execute(text(f"DELETE FROM outbox WHERE task_id IN ({places})"), parameters)  # noqa: S608
        return
    # Converted, or the server compares as utf8mb4 and cannot use the key of an ASCII column.
    wanted = " UNION ALL ".join(
        f"SELECT CONVERT(:{name} USING ascii) COLLATE ascii_bin AS task_id" for name in parameters
    )
    connection.execute(
        text(f"DELETE o FROM ({wanted}) v STRAIGHT_JOIN outbox o ON o.task_id = v.task_id"),
        parameters,
    )


def brief(error: SQLAlchemyError) -> str:
    """Tell an error in a line, without the statement."""
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)


def is_refusal(error: Exception) -> bool:
    """Tell whether it is a value's fault, rather than the database be away, busy or broken."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return False
        by_kind = isinstance(error, DataError | IntegrityError)
        return by_kind or _first_argument(error.orig) in _REFUSED
    return not isinstance(error, PoolTimeout)


def _note_idleness(_connection: Any, entry: ConnectionPoolEntry) -> None:
    entry.info["idle_since"] = time.monotonic()


def _replace_idle(_connection: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
    """Make a connection anew that the server may have ended; costs a healthy one nothing."""
    if time.monotonic() - entry.info.get("idle_since", math.inf) > STALE_SECONDS:
        raise DisconnectionError


def _leave_read_only_servers(context: ExceptionContext) -> None:
    if _first_argument(context.original_exception) in READ_ONLY:
        context.is_disconnect = True


def _first_argument(error: BaseException | None) -> Any:
    return error.args[0] if error and error.args else None


def _sqlite(url: URL, connections: int) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=connections,
        connect_args={"timeout": 5, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
        for pragma in ("journal_mode=WAL", "busy_timeout=5000", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A read that turns into a write is refused at once while another one writes.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
