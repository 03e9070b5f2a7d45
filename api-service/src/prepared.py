"""The statements that every task costs, run by the driver itself."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ClauseElement, Connection
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError

#: Read-only after a failover: the connection looks healthy and leads to the wrong server.
READ_ONLY = frozenset({1290, 1836})

#: Where SQLAlchemy would put a list's values in one by one; the driver takes the list whole.
_LIST = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")

Parameters = Mapping[str, Any]


class Prepared:
    """A statement written out once, with a name for each parameter.

    SQLAlchemy keeps what it has put together, but to run it again still takes two to three times
    the driver's own CPU. What is rare may cost that; what each task costs goes this way, on MySQL
    and MariaDB. Rows are tuples, and values pass as the driver has them, so JSON has to be text.
    """

    def __init__(self, statement: ClauseElement) -> None:
        self._statement: Any = statement
        compiled = statement.compile(dialect=mysql.dialect(paramstyle="pyformat"))
        self._text = _LIST.sub(r"%(\1)s", str(compiled))
        self._constants = compiled.params

    def rows(self, connection: Connection, parameters: Parameters) -> Sequence[Any]:
        """Run it in the connection's transaction; return what it reads."""
        if connection.dialect.name != "mysql":
            return connection.execute(self._statement, parameters).all()
        with self._run(connection, {**self._constants, **parameters}) as cursor:
            rows: Sequence[Any] = cursor.fetchall()
            return rows

    def count(self, connection: Connection, parameters: Parameters) -> int:
        """Run it in the connection's transaction; return how many rows it found."""
        if connection.dialect.name != "mysql":
            return connection.execute(self._statement, parameters).rowcount
        with self._run(connection, {**self._constants, **parameters}) as cursor:
            return int(cursor.rowcount)

    def insert(self, connection: Connection, rows: Sequence[Parameters]) -> None:
        """Run it, an INSERT, in the connection's transaction: once for all rows."""
        if connection.dialect.name != "mysql":
            connection.execute(self._statement, rows)
        else:
            self._run(connection, rows).close()

    def _run(self, connection: Connection, parameters: Parameters | Sequence[Parameters]) -> Any:
        # SQLAlchemy begins a transaction with its own statements only, and so commits no other.
        assert connection.in_transaction()  # noqa: S101 - what is not begun is not committed
        cursor = connection.connection.cursor()
        try:
            if isinstance(parameters, Mapping):
                cursor.execute(self._text, parameters)
            else:
                cursor.executemany(self._text, parameters)
        except connection.dialect.loaded_dbapi.Error as error:
            raise self._translated(connection, error) from error
        return cursor

    def _translated(self, connection: Connection, error: Any) -> BaseException:
        """Return SQLAlchemy's word for the driver's error; give up a connection that is lost."""
        dialect, driver = connection.dialect, connection.connection.dbapi_connection
        refuses_writes = not READ_ONLY.isdisjoint(error.args[:1])
        is_lost = refuses_writes or dialect.is_disconnect(error, driver, None)
        if is_lost:
            connection.invalidate(error)
        translated: BaseException = DBAPIError.instance(
            self._text,
            None,
            error,
            type(error),
            hide_parameters=True,
            connection_invalidated=is_lost,
            dialect=dialect,
        )
        return translated
