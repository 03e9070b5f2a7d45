"""Finding tasks: newest first, page by page, at a cost that does not grow with the table.

Newest first is the order of the ids, which are UUIDv7 and so begin with the time of their making.
Each combination of status, priority and type is a walk backwards along an index that ends with
the id; the walks of a filter are merged.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, select, union_all
from sqlalchemy.sql.elements import ColumnElement

from src.contract import PRIORITIES, Status
from src.models.tables import Task

#: Rows among which a page looks for words; so many take a fraction of a second.
SEARCHED_ROWS = 50_000
#: How far the clocks of the API, which makes ids, and of the database may be apart.
CLOCK_SKEW = timedelta(minutes=1)

#: The columns of a task but for the long ones.
SUMMARY = [
    column
    for column in Task.__table__.columns
    if column.name not in ("description", "metadata", "result")
]


@dataclass(frozen=True)
class Filter:
    """Which tasks; empty fields leave out nothing. Times are UTC, without zone."""

    statuses: Sequence[Status] = ()
    types: Sequence[str] = ()
    #: As stored: 0 high, 1 normal, 2 low.
    priorities: Sequence[int] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    #: An id, or words that the title must hold, all of them.
    words: str = ""


@dataclass(frozen=True)
class Page:
    """Tasks without their long columns, newest first. ``next_before``: see ``list_tasks``.

    ``searched``: rows among which words were looked for, None where there were none to look for.
    """

    tasks: list[RowMapping]
    next_before: str | None
    searched: int | None = None
    searched_back_to: datetime | None = None


def list_tasks(connection: Connection, wanted: Filter, before: str | None, limit: int) -> Page:
    """Return the newest tasks that are wanted, of those older than the id ``before``.

    A page that looked for words may be short, or empty, and not be the last one: the last one is
    that without ``next_before``.
    """
    if not wanted.words or _is_id(wanted.words):
        ids = find_ids(connection, wanted, before, limit + 1)
        more = len(ids) > limit
        return Page(_summaries(connection, ids[:limit]), ids[limit - 1] if more else None)
    walk = _walk(wanted, before, SEARCHED_ROWS).subquery()
    rows, oldest = connection.execute(select(func.count(), func.min(walk.c.id))).one()
    found = _with_words(connection, wanted, before, limit + 1)
    if len(found) > limit:
        next_before: str | None = found[limit - 1]
    else:
        next_before = oldest if rows == SEARCHED_ROWS else None
    back_to = oldest and connection.scalar(select(Task.created_at).where(Task.id == oldest))
    return Page(_summaries(connection, found[:limit]), next_before, rows, back_to)


def find_ids(connection: Connection, wanted: Filter, before: str | None, limit: int) -> list[str]:
    """Return the ids of the newest tasks that are wanted, of those older than ``before``."""
    if wanted.words and not _is_id(wanted.words):
        return _with_words(connection, wanted, before, limit)
    walk = _walk(wanted, before, limit).subquery()
    return list(connection.scalars(select(walk.c.id).order_by(walk.c.id.desc())))


def _with_words(
    connection: Connection, wanted: Filter, before: str | None, limit: int
) -> list[str]:
    walk = _walk(wanted, before, SEARCHED_ROWS).subquery()
    query = (
        select(walk.c.id)
        .join(Task, Task.id == walk.c.id)
        .where(*[Task.title.contains(word, autoescape=True) for word in wanted.words.split()])
        .order_by(walk.c.id.desc())
        .limit(limit)
    )
    return list(connection.scalars(query))


def _walk(wanted: Filter, before: str | None, limit: int) -> Select[Any]:
    """Select the newest ``limit`` ids, with all of the filter but the words applied."""
    within = [*_id_bounds(wanted, before), *_created_bounds(wanted)]
    walks = [
        select(Task.id).where(*of_one_kind, *within).order_by(Task.id.desc()).limit(limit)
        for of_one_kind in _kinds(wanted)
    ]
    hint = f"FORCE INDEX ({_index(wanted)})"
    hinted = [walk.with_hint(Task, hint, "mysql").subquery() for walk in walks]
    merged = union_all(*[select(walk.c.id) for walk in hinted]).subquery()
    return select(merged.c.id).order_by(merged.c.id.desc()).limit(limit)


def _index(wanted: Filter) -> str:
    if wanted.types:
        return "tasks_typed"
    return "tasks_listed" if wanted.statuses or wanted.priorities else "PRIMARY"


def _kinds(wanted: Filter) -> Iterator[Sequence[ColumnElement[bool]]]:
    """Cut the filter into walks that are each one stretch of the index."""
    if not (wanted.statuses or wanted.priorities or wanted.types):
        yield ()
        return
    statuses = wanted.statuses or list(Status)
    priorities = wanted.priorities or sorted(PRIORITIES.values())
    for status, priority in product(statuses, priorities):
        kind = [Task.status == status, Task.priority == priority]
        if not wanted.types:
            yield kind
        for type_ in wanted.types:
            yield [Task.type == type_, *kind]


def _id_bounds(wanted: Filter, before: str | None) -> Iterator[ColumnElement[bool]]:
    """Bound the ids by the times, so that nothing older or newer is looked at."""
    if before:
        yield Task.id < before
    if wanted.words and _is_id(wanted.words):
        yield Task.id == wanted.words.lower()
    if wanted.created_after:
        yield Task.id >= first_id(wanted.created_after - CLOCK_SKEW)
    if wanted.created_before:
        yield Task.id < first_id(wanted.created_before + CLOCK_SKEW)


def _created_bounds(wanted: Filter) -> Iterator[ColumnElement[bool]]:
    if wanted.created_after:
        yield Task.created_at >= wanted.created_after
    if wanted.created_before:
        yield Task.created_at < wanted.created_before


def first_id(instant: datetime) -> str:
    """Return the smallest id that is made at this time (UTC, without zone), to the millisecond."""
    since = max(int(instant.replace(tzinfo=UTC).timestamp() * 1000), 0)
    return str(uuid.UUID(int=since << 80))


def _is_id(words: str) -> bool:
    try:
        return str(uuid.UUID(words)) == words.lower()
    except ValueError:
        return False


def _summaries(connection: Connection, ids: Sequence[str]) -> list[RowMapping]:
    query = select(*SUMMARY).where(Task.id.in_(ids)).order_by(Task.id.desc())
    return list(connection.execute(query).mappings()) if ids else []
