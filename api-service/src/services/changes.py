"""The statements of the watcher: what changed lately."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, select

from src.contract import Status
from src.db.dialect import now
from src.models.tables import Task
from src.services.listing import SUMMARY, Filter, list_tasks

#: Changes are looked for so far back each time, since commits arrive out of the order of their
#: times: a transaction takes less than this.
WINDOW = timedelta(seconds=10)
#: Changed tasks that one look hands on; further ones come with the next.
MAX_CHANGES = 1_000
#: Tasks in the snapshot that a stream begins with.
SNAPSHOT_TASKS = 50
#: A stream that was cut off goes on if it is not longer ago than this.
MAX_GAP = timedelta(minutes=10)


class Version(NamedTuple):
    """Changes whenever the task does. (Two progress reports of one millisecond may share one.)"""

    task_id: str
    status: str
    updated_at: datetime


@dataclass(frozen=True)
class Start:
    """What a stream begins with: the newest tasks, or those that changed while it was cut off."""

    at: datetime
    rows: list[RowMapping]
    is_snapshot: bool


_VERSION = select(Task.id, Task.status, Task.updated_at)


def read_versions(
    connection: Connection, ids: Sequence[str]
) -> tuple[datetime, dict[str, Version]]:
    """Return the database's now, and the versions of those tasks that are there."""
    at = now(connection)
    rows = connection.execute(_VERSION.where(Task.id.in_(ids)))
    return at, {row.id: Version(*row) for row in rows}


def read_rows(connection: Connection, ids: Iterable[str], *, whole: bool) -> dict[str, RowMapping]:
    """Return the rows of those tasks that are there, ``whole`` or without their long columns."""
    wanted = list(ids)
    if not wanted:
        return {}
    columns = list(Task.__table__.columns) if whole else SUMMARY
    rows = connection.execute(select(*columns).where(Task.id.in_(wanted))).mappings()
    return {row["id"]: row for row in rows}


class Window:
    """Remembers what was handed on of the last seconds, and finds what was not."""

    def __init__(self) -> None:
        self._seen: dict[str, Version] = {}

    def read_changes(self, connection: Connection) -> tuple[datetime, list[RowMapping]]:
        """Return the database's now, and the tasks that changed since the last call."""
        at = now(connection)
        versions = {v.task_id: v for v in _changed_since(connection, at - WINDOW, None)}
        new = [v for v in versions.values() if self._seen.get(v.task_id) != v][:MAX_CHANGES]
        rows = read_rows(connection, [version.task_id for version in new], whole=False)
        # What left the window is forgotten; what was not handed on yet is not called seen.
        kept = {t: v for t, v in self._seen.items() if t in versions}
        self._seen = kept | {version.task_id: version for version in new}
        return at, list(rows.values())

    def read_start(self, connection: Connection, since: datetime | None) -> Start:
        """Return what a stream begins with."""
        at = now(connection)
        if since and at - MAX_GAP <= since <= at:
            missed = _changed_since(connection, since - WINDOW, MAX_CHANGES + 1)
            if len(missed) <= MAX_CHANGES:
                rows = read_rows(connection, [v.task_id for v in missed], whole=False)
                return Start(at, list(rows.values()), is_snapshot=False)
        newest = list_tasks(connection, Filter(), None, SNAPSHOT_TASKS)
        return Start(at, newest.tasks, is_snapshot=True)


def _changed_since(connection: Connection, since: datetime, limit: int | None) -> list[Version]:
    query = _VERSION.with_hint(Task, "FORCE INDEX (tasks_changed)", "mysql").where(
        Task.status.in_(list(Status)), Task.updated_at >= since
    )
    return [Version(*row) for row in connection.execute(query.limit(limit))]
