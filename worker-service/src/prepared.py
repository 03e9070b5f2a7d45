"""The statements that every task costs, run by the driver itself."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pymysql  # type: ignore[import-untyped]
from pymysql.constants import CLIENT, SERVER_STATUS  # type: ignore[import-untyped]
from sqlalchemy import ClauseElement, Connection, Engine, event
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError

#: Read-only after a failover: the connection looks healthy and leads to the wrong server.
READ_ONLY = frozenset({1290, 1836})

#: Where SQLAlchemy would put a list's values in one by one; the driver takes the list whole.
_LIST = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")

#: For one row, or for the one statement; or for each row of an INSERT.
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Prepared:
    """A statement written out once, with a name for each parameter.

    SQLAlchemy keeps what it has put together, but to run it again still takes two to three times
    the driver's own CPU. What is rare may cost that; what each task costs goes this way, on MySQL
    and MariaDB. Rows are tuples, and values pass as the driver has them, so JSON has to be text.
    """

    def __init__(self, statement: ClauseElement) -> None:
        self.statement: Any = statement
        compiled = statement.compile(dialect=mysql.dialect(paramstyle="pyformat"))
        self.text = _LIST.sub(r"%(\1)s", str(compiled))
        self._insert, _, self._row = self.text.partition(" VALUES ")
        self._constants = compiled.params

    def rows(self, connection: Connection, parameters: Parameters) -> Sequence[Any]:
        """Run it in the connection's transaction; return what it reads."""
        if connection.dialect.name != "mysql":
            return connection.execute(self.statement, parameters).all()
        return _run(connection, [(self, parameters)])[1]

    def count(self, connection: Connection, parameters: Parameters) -> int:
        """Run it in the connection's transaction; return how many rows it found or inserted."""
        if connection.dialect.name != "mysql":
            return connection.execute(self.statement, parameters).rowcount
        return _run(connection, [(self, parameters)])[0]

    def written(self, cursor: Any, parameters: Parameters) -> str:
        """Return it with the values in it, escaped by the driver."""
        if isinstance(parameters, Mapping):
            text: str = cursor.mogrify(self.text, {**self._constants, **parameters})
            return text
        rows = [cursor.mogrify(self._row, row) for row in parameters]
        return f"{self._insert} VALUES {', '.join(rows)}"


Step = tuple[Prepared, Parameters]


def run_together(connection: Connection, *steps: Step) -> None:
    """Run statements in one round trip. After one that is refused none is run."""
    if connection.dialect.name == "mysql":
        _run(connection, steps)
        return
    for prepared, parameters in steps:
        prepared.count(connection, parameters)


def commit_with(connection: Connection, prepared: Prepared, parameters: Parameters) -> int:
    """Run the last statement of a transaction and, unless it is refused, COMMIT: in one round trip.

    Only for what may be committed after all when the caller has given up: a server that was slow
    carries out both. On SQLite the transaction's block commits.

    Returns:
        How many rows it found or inserted.
    """
    if connection.dialect.name != "mysql":
        return prepared.count(connection, parameters)
    found, _ = _run(connection, [(prepared, parameters)], "COMMIT")
    driver: Any = connection.connection.dbapi_connection
    driver.is_committed = not driver.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
    return found


def take_several(engine: Engine) -> None:
    """Have the engine's connections take several statements in one round trip."""
    event.listen(engine, "do_connect", _connect)


class _Driver(pymysql.Connection):  # type: ignore[misc] # PyMySQL tells no types
    """Does not commit again what a statement has committed."""

    is_committed = False

    def query(self, sql: Any, unbuffered: bool = False) -> Any:
        self.is_committed = False
        return super().query(sql, unbuffered)

    def commit(self) -> None:
        if not self.is_committed:
            super().commit()


def _connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
    options["client_flag"] = options.get("client_flag", 0) | CLIENT.MULTI_STATEMENTS
    return _Driver(*arguments, **options)


def _run(
    connection: Connection, steps: Sequence[Step], *and_then: str
) -> tuple[int, Sequence[Any]]:
    """Return how many rows the first step found, and those that it read."""
    # SQLAlchemy begins a transaction with its own statements only, and so commits no other.
    assert connection.in_transaction()  # noqa: S101 - what is not begun is not committed
    cursor = connection.connection.cursor()
    try:
        written = [prepared.written(cursor, parameters) for prepared, parameters in steps]
        cursor.execute(";\n".join([*written, *and_then]))
        found = int(cursor.rowcount), cursor.fetchall()
        while cursor.nextset():
            # An error of a later statement is raised when its turn comes.
            pass
    except connection.dialect.loaded_dbapi.Error as error:
        raise _translated(connection, steps, error) from error
    return found


def _translated(connection: Connection, steps: Sequence[Step], error: Any) -> BaseException:
    """Return SQLAlchemy's word for the driver's error; give up a connection that is lost."""
    dialect, driver = connection.dialect, connection.connection.dbapi_connection
    refuses_writes = not READ_ONLY.isdisjoint(error.args[:1])
    is_lost = refuses_writes or dialect.is_disconnect(error, driver, None)
    if is_lost:
        connection.invalidate(error)
    translated: BaseException = DBAPIError.instance(
        ";\n".join(prepared.text for prepared, _ in steps),
        None,
        error,
        type(error),
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=dialect,
    )
    return translated
