"""Waits for the database and its tables, and refuses tables that are not ours."""

from collections.abc import Callable

import structlog
from sqlalchemy import Engine, inspect
from sqlalchemy.exc import SQLAlchemyError

from src.backoff import database_backoff
from src.store.dialect import brief
from src.store.tables import SCHEMA

log = structlog.get_logger(__name__)


class SchemaMismatch(Exception):
    """The tables are not those of ``db/init.sql``; the message says which and what to do."""


def wait_for_schema(engine: Engine, stopped: Callable[[float], bool]) -> bool:
    """Wait for as long as it takes; return False when told to stop meanwhile.

    ``stopped`` waits for a request to stop for so many seconds and tells whether it came.

    A missing table is waited for: the schema may be about to be applied, and on SQLite the API
    makes it.

    Raises:
        SchemaMismatch: a table is there but lacks a column.
    """
    backoff = database_backoff()
    while True:
        try:
            missing = _missing_table(engine)
            if missing is None:
                return True
            reason = f"table {missing!r} is not there yet: start the API or apply db/init.sql"
        except SQLAlchemyError as error:
            reason = brief(error)
        log.warning("waiting for the database", reason=reason)
        if stopped(backoff.next()):
            return False


def _missing_table(engine: Engine) -> str | None:
    with engine.connect() as connection:
        inspector = inspect(connection)
        tables = set(inspector.get_table_names())
        for table in SCHEMA.sorted_tables:
            if table.name not in tables:
                return table.name
            found = {column["name"] for column in inspector.get_columns(table.name)}
            missing = [column.name for column in table.columns if column.name not in found]
            if missing:
                raise SchemaMismatch(
                    f"table {table.name!r} has no column {', '.join(missing)}: it is another "
                    "schema; use an empty database (with Compose: docker compose down --volumes) "
                    "or bring it up to db/init.sql"
                )
    return None
