"""What is said to the database, whoever says it: SQLAlchemy or the driver by itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pymysql.cursors import Cursor  # type: ignore[import-untyped]
from sqlalchemy import Engine, event

Note = Callable[[Any, str, Any], None]


@contextmanager
def before_each_statement(engine: Engine, note: Note) -> Iterator[None]:
    """Call ``note(cursor, statement, parameters)`` before each; what it runs itself is its own."""
    if engine.dialect.name == "sqlite":

        def pass_on(
            _connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any
        ) -> None:
            note(cursor, statement, parameters)

        event.listen(engine, "before_cursor_execute", pass_on)
        yield
        event.remove(engine, "before_cursor_execute", pass_on)
        return
    execute, noting = Cursor.execute, False

    def noted(cursor: Any, statement: str, parameters: Any = None) -> Any:
        nonlocal noting
        if not noting:
            noting = True
            try:
                # What goes together in one round trip is told one by one.
                for one in statement.split(";\n"):
                    note(cursor, one, parameters)
            finally:
                noting = False
        return execute(cursor, statement, parameters)

    Cursor.execute = noted
    try:
        yield
    finally:
        Cursor.execute = execute


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[str]]:
    """Collect what is said, without the words that begin and end a transaction."""
    seen: list[str] = []

    def note(_cursor: Any, statement: str, _parameters: Any) -> None:
        if not statement.startswith(("BEGIN", "COMMIT")):
            seen.append(statement)

    with before_each_statement(engine, note):
        yield seen


@contextmanager
def plans_of(engine: Engine, wanted: str) -> Iterator[list[dict[str, Any]]]:
    """Collect how the server runs each statement in which this is said, right before it does."""
    plans: list[dict[str, Any]] = []

    def explain(cursor: Any, statement: str, parameters: Any) -> None:
        if wanted in statement:
            cursor.execute(f"EXPLAIN FORMAT=TRADITIONAL {statement}", parameters)
            names = [column[0] for column in cursor.description]
            plans.extend(dict(zip(names, row, strict=True)) for row in cursor.fetchall())

    with before_each_statement(engine, explain):
        yield plans
