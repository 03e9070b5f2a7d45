"""What changed lately: the statements of the watcher, and the window that knows what was told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, select

from src.contract import Status
from src.db.dialect import now
from src.models.tables import Task
from src.services.listing import NO_WEBHOOK, SUMMARY, Filter, list_tasks

#: Changes are looked for so far back each time, since commits arrive out of the order of their
#: times: a transaction takes less than this.
WINDOW = timedelta(seconds=10)
#: Changed tasks that one look hands on; further ones come with the next.
MAX_CHANGES = 1_000
#: Changes that are read at once; with more of them than that streams begin anew.
MAX_READ = 50_000
#: Changed tasks that a stream which was cut off is told of.
MAX_RESUMED = 5_000
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


class GapTooLong(Exception):
    """So much has changed since somebody looked last that it is not told one by one."""


@dataclass(frozen=True)
class Look:
    """What one look found: the rows to hand on, and what the window is to remember."""

    at: datetime
    rows: list[RowMapping]
    seen: dict[str, Version]
    waiting: dict[str, Version]


class Window:
    """Remembers what was handed on of the last seconds, and finds what was not."""

    def __init__(self) -> None:
        self._seen: dict[str, Version] = {}
        #: Found, but not handed on yet.
        self._waiting: dict[str, Version] = {}
        self._looked_at: datetime | None = None

    def look(self, connection: Connection) -> Look:
        """Find what changed since the last look that was noted. Changes nothing itself: a
        transaction may be run twice.

        Raises:
            GapTooLong: begin anew, with a snapshot.
        """
        at = now(connection)
        last = self._looked_at or at
        if at - last > MAX_GAP:
            raise GapTooLong
        versions = {v.task_id: v for v in _changed_since(connection, last - WINDOW, MAX_READ + 1)}
        if len(versions) > MAX_READ:
            raise GapTooLong
        new = {t: v for t, v in versions.items() if self._seen.get(t) != v}
        waiting = self._waiting | new
        chosen = list(waiting)[:MAX_CHANGES]
        rows = read_rows(connection, chosen, whole=False)
        for task_id in chosen:
            del waiting[task_id]
        return Look(at, list(rows.values()), versions, waiting)

    def note(self, look: Look) -> None:
        """Remember what was found, and forget what has left the window."""
        self._seen, self._waiting, self._looked_at = look.seen, look.waiting, look.at

    def has_more(self) -> bool:
        """Tell whether there was more than one look hands on."""
        return bool(self._waiting)


def read_start(connection: Connection, since: datetime | None) -> Start:
    """Return what a stream begins with."""
    at = now(connection)
    if since and at - MAX_GAP <= since <= at:
        missed = _changed_since(connection, since - WINDOW, MAX_RESUMED + 1)
        if len(missed) <= MAX_RESUMED:
            rows = read_rows(connection, [v.task_id for v in missed], whole=False)
            return Start(at, list(rows.values()), is_snapshot=False)
    newest = list_tasks(connection, Filter(), None, SNAPSHOT_TASKS)
    return Start(at, newest.tasks, is_snapshot=True)


def _changed_since(connection: Connection, since: datetime, limit: int) -> list[Version]:
    query = _VERSION.with_hint(Task, "FORCE INDEX (tasks_changed)", "mysql").where(
        Task.status.in_(list(Status)), Task.updated_at >= since, NO_WEBHOOK
    )
    return [Version(*row) for row in connection.execute(query.limit(limit))]
