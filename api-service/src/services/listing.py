"""Finding tasks: newest first, page by page, at a cost that does not grow with the table.

Newest first is the order of the ids, which are UUIDv7 and so begin with the time of their making.
Each combination of status, priority and type is a walk backwards along an index that ends with
the id; the walks of a filter are merged.
"""

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, or_, select, union_all
from sqlalchemy.sql.elements import ColumnElement

from src.contract import PRIORITIES, Status
from src.models.tables import Task
from src.webhooks import WEBHOOK_TYPE

#: Rows among which a page looks for words: so many, in such pieces, and for so long at most.
SEARCHED_ROWS, SEARCHED_AT_ONCE, SEARCH_SECONDS = 50_000, 10_000, 0.7
#: Index entries that a piece takes, over all walks of its filter.
SEARCHED_ENTRIES = 150_000
#: Characters of an error's class; what is longer is cut.
MAX_CLASS = 100
#: How far the clocks of the API, which makes ids, and of the database may be apart.
CLOCK_SKEW = timedelta(minutes=1)

#: Webhooks are tasks, and nobody's who did not ask for them.
NO_WEBHOOK = Task.type != WEBHOOK_TYPE
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
    #: Without any: all but webhooks.
    types: Sequence[str] = ()
    #: As stored: 0 high, 1 normal, 2 low.
    priorities: Sequence[int] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    #: An id, or words that the title must hold, all of them.
    words: str = ""
    #: The class of the error: what stands before its first colon.
    error: str = ""

    @property
    def is_search(self) -> bool:
        """No index helps: titles or errors have to be read."""
        return bool(self.error or (self.words and not _is_id(self.words)))


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
    if not wanted.is_search:
        ids, _ = find_ids(connection, wanted, before, limit + 1)
        more = len(ids) > limit
        return Page(_summaries(connection, ids[:limit]), ids[limit - 1] if more else None)
    search = _search(connection, wanted, before, limit + 1)
    back_to = select(Task.created_at).where(Task.id == search.oldest)
    return Page(
        tasks=_summaries(connection, search.found[:limit]),
        next_before=search.found[limit - 1] if len(search.found) > limit else search.rest_before,
        searched=search.rows,
        searched_back_to=connection.scalar(back_to) if search.oldest else None,
    )


def find_ids(
    connection: Connection, wanted: Filter, before: str | None, limit: int
) -> tuple[list[str], str | None]:
    """Return the ids of the newest tasks that are wanted, of those older than ``before``.

    And what to go on from, None where there are no more.
    """
    if wanted.is_search:
        search = _search(connection, wanted, before, limit)
        if len(search.found) >= limit:
            return search.found[:limit], search.found[limit - 1]
        return search.found, search.rest_before
    walk = _walk(wanted, before, limit).subquery()
    ids = list(connection.scalars(select(walk.c.id).order_by(walk.c.id.desc())))
    return ids, ids[-1] if len(ids) == limit else None


@dataclass
class _Search:
    """What was found in ``rows`` tasks back to ``oldest``; older ones are left if there is a
    ``rest_before``."""

    found: list[str] = field(default_factory=list)
    rows: int = 0
    oldest: str | None = None
    rest_before: str | None = None


def _search(connection: Connection, wanted: Filter, before: str | None, enough: int) -> _Search:
    """Look into texts, piece by piece, until there are enough or it has looked at enough."""
    search = _Search()
    deadline = time.monotonic() + SEARCH_SECONDS
    at_once = min(SEARCHED_AT_ONCE, SEARCHED_ENTRIES // len(list(_kinds(wanted))))
    while True:
        size = min(at_once, SEARCHED_ROWS - search.rows)
        piece = _walk(wanted, before, size).subquery()
        rows, last = connection.execute(select(func.count(), func.min(piece.c.id))).one()
        if rows:
            search.found += connection.scalars(
                select(piece.c.id)
                .join(Task, Task.id == piece.c.id)
                .where(*_texts(wanted))
                .order_by(piece.c.id.desc())
                .limit(enough - len(search.found))
            )
            search.rows, search.oldest = search.rows + rows, last
        is_last = rows < size
        search.rest_before = before = None if is_last else last
        is_over = search.rows >= SEARCHED_ROWS or time.monotonic() > deadline
        if is_last or is_over or len(search.found) >= enough:
            return search


def _texts(wanted: Filter) -> Iterator[ColumnElement[bool]]:
    if wanted.words and not _is_id(wanted.words):
        yield from (Task.title.contains(word, autoescape=True) for word in wanted.words.split())
    if wanted.error:
        # One that was cut may go on.
        end = "" if len(wanted.error) >= MAX_CLASS else ":"
        followed = Task.error.startswith(wanted.error + end, autoescape=True)
        yield or_(Task.error == wanted.error, followed)


def _walk(wanted: Filter, before: str | None, limit: int) -> Select[Any]:
    """Select the newest ``limit`` ids, with all of the filter but the texts applied."""
    within = [*_id_bounds(wanted, before), *_created_bounds(wanted)]
    if not wanted.types:
        within.append(NO_WEBHOOK)
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
