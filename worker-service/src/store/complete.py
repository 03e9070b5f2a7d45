"""Writes successes, many in one statement: most attempts end like this."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    Update,
    and_,
    bindparam,
    case,
    literal,
    or_,
    update,
)

from src.contract import Status
from src.decision import Decision
from src.outcome import Progress
from src.prepared import Prepared, commit_with
from src.store.attempts import Fence
from src.store.dialect import Now
from src.store.tables import TASKS

#: Characters of results in one statement; a server takes packets of 16 MiB and more.
STATEMENT_CHARACTERS = 1_000_000


def plain_results(
    decisions: Mapping[Fence, Decision], progress: Mapping[Fence, Progress]
) -> dict[Fence, Any]:
    """Return the results of the successes that write nothing else of their own."""
    return {
        fence: decision.result
        for fence, decision in decisions.items()
        if decision.status is Status.COMPLETED
        and fence not in progress
        and not decision.wants_webhook
    }


def complete(connection: Connection, results: Mapping[Fence, Any]) -> bool:
    """Complete the tasks whose attempt is the current one; tell whether all were.

    In the order of the ids, as every lock here is taken.
    """
    return all(_write(connection, part) == len(part) for part in _parts(results))


def complete_alone(connection: Connection, results: Mapping[Fence, Any]) -> bool:
    """Complete the one task and commit, in one round trip; tell whether its attempt was current.

    If it was not, nothing was written.
    """
    [(fence, result)] = results.items()
    alike = _alike([fence], json.dumps(result))
    return commit_with(connection, _COMPLETE_ALIKE, alike) == 1


def _write(connection: Connection, part: Mapping[Fence, str]) -> int:
    """Complete tasks in one statement; return how many."""
    numbers, written = {fence.number for fence in part}, set(part.values())
    if len(numbers) > 1 or len(written) > 1:
        return connection.execute(_completion(_is_any_of(part), _result(part))).rowcount
    return _COMPLETE_ALIKE.count(connection, _alike([*part], written.pop()))


def _alike(fences: Sequence[Fence], written: str) -> dict[str, Any]:
    """Return the parameters for attempts of one number and with one result."""
    return {
        "task_ids": [fence.task_id for fence in fences],
        "number": fences[0].number,
        "result": None if written == "null" else written,
    }


def _parts(results: Mapping[Fence, Any]) -> Iterator[dict[Fence, str]]:
    """Cut results, as JSON, into what goes into a statement each."""
    part: dict[Fence, str] = {}
    size = 0
    for fence in sorted(results):
        written = json.dumps(results[fence])
        if part and size + len(written) > STATEMENT_CHARACTERS:
            yield part
            part, size = {}, 0
        part[fence] = written
        size += len(written)
    if part:
        yield part


def _completion(whose: ColumnElement[bool], result: ColumnElement[Any]) -> Update:
    return (
        update(TASKS)
        # By primary key, or a small table is scanned; see lock_tasks.
        .with_hint("FORCE INDEX (PRIMARY)", dialect_name="mysql")
        .where(whose, TASKS.c.status == Status.PROCESSING)
        .values(
            status=Status.COMPLETED,
            result=result,
            error=None,
            completed_at=Now(),
            updated_at=Now(),
        )
    )


#: For tasks that differ in nothing but their id.
_COMPLETE_ALIKE = Prepared(
    _completion(
        and_(
            TASKS.c.id.in_(bindparam("task_ids", expanding=True)),
            TASKS.c.attempt == bindparam("number"),
        ),
        bindparam("result", type_=Text),
    )
)


def _is_any_of(fences: Mapping[Fence, str]) -> ColumnElement[bool]:
    """Compare id and attempt, for each number of an attempt at once: mostly it is the first.

    A list of pairs would say the same, but no server looks those up by key.
    """
    ids: dict[int, list[str]] = defaultdict(list)
    for fence in fences:
        ids[fence.number].append(fence.task_id)
    return or_(
        *(
            and_(TASKS.c.id.in_(some), TASKS.c.attempt == number)
            for number, some in sorted(ids.items())
        )
    )


def _result(results: Mapping[Fence, str]) -> ColumnElement[Any]:
    """Return the value of the column: one for all, or by task where results differ.

    Compared as JSON: to Python 1 and true are the same.
    """
    if len(set(results.values())) == 1:
        return _value(next(iter(results.values())))
    return case({f.task_id: _value(written) for f, written in results.items()}, value=TASKS.c.id)


def _value(written: str) -> ColumnElement[Any]:
    return literal(json.loads(written), TASKS.c.result.type)
