"""Transactions with a limit, and the check that the tables are the ones we know."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from src.db.dialect import (
    STALE_SECONDS,
    STATEMENT_SECONDS,
    is_away,
    is_collision,
    is_gone,
    is_sqlite,
    make_engine,
    seeing_one_moment,
    takes_writes,
)
from src.kept import Kept
from src.models.tables import Base

T = TypeVar("T")
Begin = Callable[[], AbstractContextManager[Connection]]


class DatabaseUnavailable(Exception):
    """The database did not answer in time, or not at all. Worth trying again."""


class SchemaMismatch(Exception):
    """The tables are not those of ``db/init.sql``; the message says which and what to do."""


class Database:
    """The engine and the one way to use it. Connects on first use, from any thread."""

    def __init__(self, url: str) -> None:
        self.engine = make_engine(url)
        self._kept = Kept(self.engine, stale_seconds=STALE_SECONDS)
        self._reader = self.engine.execution_options(reads_only=True)
        self._snapshot = seeing_one_moment(self._reader)
        self._lock = threading.Lock()
        self._checked = False
        self._is_connected = False
        self._changed_at = datetime.now(UTC)

    def since(self) -> datetime:
        """Tell since when the database answers, or does not, by this machine's clock."""
        return self._changed_at

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one transaction; after a collision or a lost connection the whole again.

        What ``work`` does must bear being done twice: the answer to a commit can be lost.

        Raises:
            DatabaseUnavailable: nobody answers, or not within the budget of a request.
            SchemaMismatch: see ``check_schema``.
        """
        return self._run(self._kept.begin, work)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work``, which only reads, likewise."""
        return self._run(self._reader.begin, work)

    def read_at_once(self, work: Callable[[Connection], T]) -> T:
        """Run ``work``, which only reads, so that all it reads is of one moment."""
        return self._run(self._snapshot.begin, work)

    def _run(self, begin: Begin, work: Callable[[Connection], T]) -> T:
        deadline = time.monotonic() + STATEMENT_SECONDS
        pause = 0.01
        while True:
            try:
                self.check_schema()
                with begin() as connection:
                    result = work(connection)
                self._note(is_connected=True)
                return result
            except PoolTimeout as error:
                raise DatabaseUnavailable("no free connection") from error
            except DBAPIError as error:
                if not is_away(error):
                    raise
                again = error.connection_invalidated or is_collision(error)
                if not again or time.monotonic() + pause > deadline:
                    if is_gone(error):
                        self._note(is_connected=False)
                    raise DatabaseUnavailable(str(error.orig)) from error
            time.sleep(pause)
            pause *= 2

    def _note(self, *, is_connected: bool) -> None:
        if is_connected is not self._is_connected:
            self._is_connected, self._changed_at = is_connected, datetime.now(UTC)

    def check_schema(self) -> None:
        """Compare the tables with ours, once; on SQLite make them.

        Raises:
            SchemaMismatch: a table or a column is missing.
        """
        if self._checked:
            return
        if is_sqlite(self.engine):
            with self._lock, self.engine.begin() as connection:
                Base.metadata.create_all(connection)
        # Without the lock: many may look at once, but none waits for another's time-out.
        with self.engine.connect() as connection:
            _compare(connection)
        self._checked = True

    def ping(self) -> None:
        """Ask the database whether it is there and can be written to.

        Raises:
            DatabaseUnavailable: it did not answer in time, or is read-only.
            SchemaMismatch: see ``check_schema``.
        """
        if not self.read(takes_writes):
            raise DatabaseUnavailable("read-only")

    def close(self) -> None:
        self._kept.close()
        self.engine.dispose()


def _compare(connection: Connection) -> None:
    inspector = inspect(connection)
    tables = set(inspector.get_table_names())
    for table in Base.metadata.sorted_tables:
        if table.name not in tables:
            raise SchemaMismatch(
                f"table {table.name!r} is missing in the database: apply db/init.sql to it"
            )
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        indexes = {index["name"] for index in inspector.get_indexes(table.name)}
        missing = [f"column {c.name}" for c in table.columns if c.name not in columns]
        # Statements name the indexes that they need, and fail without them.
        missing += [f"index {i.name}" for i in table.indexes if i.name not in indexes]
        if missing:
            raise SchemaMismatch(
                f"table {table.name!r} has no {', '.join(missing)}: it is another schema; "
                "use an empty database (with Compose: docker compose down --volumes) "
                "or bring it up to db/init.sql"
            )
