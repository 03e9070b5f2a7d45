"""The attempts of a task, those that did not succeed as the workers wrote them down."""

from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, select

from src.models.tables import Attempt
from src.services.transitions import find

#: Attempts that are told of, the latest ones; a task can be given back any number of times.
MAX_ATTEMPTS_TOLD = 200


@dataclass(frozen=True)
class Ledger:
    """A task's row, and its latest attempts that did not succeed, in their order."""

    task: RowMapping
    attempts: list[RowMapping]


def read_ledger(connection: Connection, task_id: str) -> Ledger:
    """Read both.

    Raises:
        TaskNotFound: no row has this id.
    """
    query = (
        select(*Attempt.__table__.columns)
        .where(Attempt.task_id == task_id)
        .order_by(Attempt.attempt.desc())
        .limit(MAX_ATTEMPTS_TOLD)
    )
    task = find(connection, task_id)
    return Ledger(task, list(connection.execute(query).mappings())[::-1])
