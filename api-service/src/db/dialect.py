"""All that differs between MySQL, MariaDB and SQLite."""

import math
import sqlite3
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from src.prepared import READ_ONLY, take_several

#: Connections for the request threads, the relay and the watcher, and one at hand for what writes;
#: the servers' default is 151 for everyone.
POOL_SIZE = 11
#: Seconds that one statement may take. With one more go after a lost connection a request
#: stays below the two seconds at which its client begins to wonder.
STATEMENT_SECONDS = 1.5
#: The least that the server can be told for the wait on a row lock.
LOCK_WAIT_SECONDS = 1

#: Deadlock, lock wait timeout: the transaction is gone, the same again will do.
_COLLISIONS = frozenset({1213, 1205})
#: The connection was lost during a statement, perhaps since it took too long.
_LOST = frozenset({2006, 2013})
#: No connection or a lost one, no space, no rights, interrupted: passes, or a person mends it.
#: PyMySQL makes an OperationalError of every code that it does not know: the class tells nothing.
_AWAY = frozenset(
    {
        *(2002, 2003, 2006, 2013, 1040, 1042, 1043, 1044, 1045, 1049, 1053, 1129, 1130),
        *(1158, 1159, 1160, 1161, 1927, 4031, 1021, 1030, 1114, 1180, 1317, 1142, 1143, 1792),
        *(3118, 4151),
    }
)

#: Seconds after which the server ends a silent session. A process that was frozen inside a
#: transaction holds its row locks no longer than this; an idle connection is simply made anew.
IDLE_SECONDS = 15
#: Seconds after which one that was idle is made anew before it is used.
STALE_SECONDS = IDLE_SECONDS * 2 / 3

_MYSQL_SESSION = (
    f"SET time_zone = '+00:00', wait_timeout = {IDLE_SECONDS},"
    f" innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS}"
)


def make_engine(url: str) -> Engine:
    """Make an engine whose every wait has a limit. Connects to nothing yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    engine = create_engine(
        parsed,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=1,
        pool_use_lifo=True,
        # A transaction is ended by whoever began it; to make sure of that costs a round trip.
        pool_reset_on_return=None,
        connect_args={
            "connect_timeout": 1,
            "read_timeout": STATEMENT_SECONDS,
            "write_timeout": STATEMENT_SECONDS,
            "init_command": _MYSQL_SESSION,
        },
    )
    take_several(engine)
    event.listen(engine, "handle_error", _leave_read_only_servers)
    event.listen(engine, "checkin", _note_idleness)
    event.listen(engine, "checkout", _replace_idle)
    return engine


def is_sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"


def seeing_one_moment(engine: Engine) -> Engine:
    """Return the engine such that all statements of a transaction see the same; SQLite's do."""
    return (
        engine if is_sqlite(engine) else engine.execution_options(isolation_level="REPEATABLE READ")
    )


_NOW = text("SELECT NOW(3)")


def now(connection: Connection) -> datetime:
    """Ask the database for the time: UTC, to the millisecond, without zone as its columns are.

    Every time in the tables comes from here, so that no clock of two machines is compared.
    """
    if connection.dialect.name == "sqlite":
        written = connection.scalar(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"))
        return datetime.fromisoformat(str(written))
    instant = connection.scalar(_NOW)
    assert isinstance(instant, datetime)  # noqa: S101 - for the type checker
    return instant


def takes_writes(connection: Connection) -> bool:
    """Tell whether the server lets us write; after a failover this may be a replica."""
    if connection.dialect.name == "sqlite":
        return True
    return not connection.scalar(text("SELECT @@global.read_only"))


def brief(error: Exception) -> str:
    """Tell an error in a line, without the statement."""
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)


def is_collision(error: DBAPIError) -> bool:
    """Tell whether two transactions got in each other's way: the same again will do."""
    return _code(error) in _COLLISIONS


def is_away(error: DBAPIError) -> bool:
    """Tell whether the database cannot be reached or used, rather than the statement be wrong."""
    return (
        error.connection_invalidated
        or _code(error) in _AWAY | _COLLISIONS | READ_ONLY
        or isinstance(error.orig, sqlite3.OperationalError)
    )


def is_gone(error: DBAPIError) -> bool:
    """Tell whether the database is away for everybody, rather than one statement be slow."""
    return is_away(error) and _code(error) not in _COLLISIONS | _LOST


def is_duplicate(error: DBAPIError) -> bool:
    """Tell whether a unique key was there already."""
    return isinstance(error, IntegrityError) and (
        _code(error) == 1062 or "UNIQUE constraint failed" in str(error.orig)
    )


def _code(error: DBAPIError) -> Any:
    return _first_argument(error.orig)


def _first_argument(error: BaseException | None) -> Any:
    return error.args[0] if error and error.args else None


def _note_idleness(_connection: Any, entry: ConnectionPoolEntry) -> None:
    entry.info["idle_since"] = time.monotonic()


def _replace_idle(_connection: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
    """Make a connection anew that the server may have ended; costs a healthy one nothing."""
    if time.monotonic() - entry.info.get("idle_since", math.inf) > STALE_SECONDS:
        raise DisconnectionError


def _leave_read_only_servers(context: ExceptionContext) -> None:
    if _first_argument(context.original_exception) in READ_ONLY:
        context.is_disconnect = True


def _sqlite(url: URL) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        pool_timeout=1,
        hide_parameters=True,
        connect_args={"timeout": 5, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
        for pragma in ("journal_mode=WAL", "busy_timeout=5000", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A read that turns into a write is refused at once while another one writes.
        reads = connection.get_execution_options().get("reads_only", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
