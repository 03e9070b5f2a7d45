"""The private servers of a benchmark, and the fresh database and queues each system gets."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql  # type: ignore[import-untyped]

from bench.systems import KINDS, System
from tests.local.broker import BrokerServer
from tests.local.database import DatabaseServer
from tests.local.servers import ServerError

SQL_SECONDS = 30


@dataclass(frozen=True)
class Servers:
    """A database and a broker that nobody else uses."""

    database: DatabaseServer
    broker: BrokerServer

    @contextmanager
    def fresh(self, name: str, logs: Path) -> Iterator[System]:
        """Give a system an empty database and empty queues; it is stopped at the end."""
        kind = KINDS[name]
        logs.mkdir(parents=True, exist_ok=True)
        database_url = self.database.create_database(f"tasks_{name}", kind.schema)
        broker_url = self.broker.create_vhost(name)
        try:
            with kind.make(database_url, broker_url, logs) as system:
                yield system
        except (ServerError, pymysql.Error, OSError) as error:
            raise ServerError(f"{kind.title} failed: {error}; its logs are in {logs}") from error
        finally:
            self.broker.delete_vhost(name)


@contextmanager
def private_servers(folder: Path) -> Iterator[Servers]:
    """Start both servers on empty folders below the given one; all is removed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="servers-", dir=folder)
        here = Path(stack.enter_context(made))
        database = stack.enter_context(DatabaseServer(here / "database"))
        broker = stack.enter_context(BrokerServer(here / "broker"))
        # A commit is on the disk before it is answered: else the promise of a 202 costs nothing.
        database.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        value = database.sql("SELECT @@GLOBAL.innodb_flush_log_at_trx_commit")
        if value != "1":
            raise ServerError(f"innodb_flush_log_at_trx_commit is {value}, not 1")
        yield Servers(database, broker)


class Rows:
    """The tasks table as a bystander sees it, over one connection that commits by itself."""

    def __init__(self, database_url: str) -> None:
        url = urlsplit(database_url)
        self._connection = pymysql.connect(
            host=url.hostname,
            port=url.port or 3306,
            user=url.username,
            password=url.password or "",
            database=url.path[1:],
            autocommit=True,
            connect_timeout=SQL_SECONDS,
            read_timeout=SQL_SECONDS,
            write_timeout=SQL_SECONDS,
        )
        self._cursor = self._connection.cursor()

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def status(self, task_id: str) -> str:
        return str(self.one("SELECT status FROM tasks WHERE id = %s", task_id))

    def count(self, status: str) -> int:
        return int(self.one("SELECT COUNT(*) FROM tasks WHERE status = %s", status))

    def any(self, *statuses: str) -> bool:
        """Whether a row has one of the statuses: cheaper than to count them."""
        return any(
            self.one("SELECT 1 FROM tasks WHERE status = %s LIMIT 1", status) for status in statuses
        )

    def one(self, statement: str, *values: object) -> Any:
        """Return the first value of the first row, None if there is no row."""
        self._cursor.execute(statement, values)
        row = self._cursor.fetchone()
        return row[0] if row else None

    def run(self, statement: str, *values: object) -> None:
        self._cursor.execute(statement, values)
