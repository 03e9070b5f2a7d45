"""Looking at the whole: statistics, workers, types, and why a task is not finished."""

from functools import partial

from src.db.database import Database
from src.services.explain import Reason, explain, gather
from src.services.statistics import Statistics, read_statistics
from src.services.workforce import KnownType, Workforce, read_types, read_workforce


class Overview:
    """What the routes call that only read. Each raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def explain(self, task_id: str, broker: str) -> Reason:
        """Tell why a task is not finished. ``broker``: its state as this process knows it.

        Raises:
            TaskNotFound: no row has this id.
        """
        facts = self._database.read_at_once(partial(gather, task_id=task_id))
        return explain(facts, broker)

    def statistics(self) -> Statistics:
        return read_statistics(self._database)

    def workforce(self) -> Workforce:
        return self._database.read_at_once(read_workforce)

    def types(self) -> list[KnownType]:
        return self._database.read_at_once(read_types)
