"""The one way out of PROCESSING: every outcome of every attempt is written here."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, select, update

from src.contract import FINAL, Status
from src.decision import Decision, heed_cancel
from src.outcome import Progress
from src.store.attempts import Fence
from src.store.complete import complete, plain_results
from src.store.dialect import now, upsert
from src.store.tables import ATTEMPTS, OUTBOX, TASKS
from src.store.webhooks import write_webhooks

_WRITE = (
    update(TASKS)
    .where(TASKS.c.id == bindparam("task_id"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in (
                "status",
                "errors",
                "crashes",
                "run_at",
                "worker_id",
                "started_at",
                "completed_at",
                "progress",
                "progress_note",
                "result",
                "error",
                "updated_at",
            )
        }
    )
)


#: What the way out of PROCESSING depends on; not the long texts of the client.
_SETTLED = (
    TASKS.c.id,
    TASKS.c.status,
    TASKS.c.attempt,
    TASKS.c.errors,
    TASKS.c.crashes,
    TASKS.c.max_attempts,
    TASKS.c.run_at,
    TASKS.c.worker_id,
    TASKS.c.started_at,
    TASKS.c.cancel_requested,
    TASKS.c.progress,
    TASKS.c.progress_note,
    TASKS.c.error,
    TASKS.c.callback_url,
)


def lock_tasks(columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """Select columns of the tasks ``task_ids``, a sorted list, and lock their rows in this order.

    By primary key whatever the optimizer thinks: it scans a small table, and a scan waits for
    the locks of strangers.
    """
    return (
        select(*columns)
        .with_hint(TASKS, "FORCE INDEX (PRIMARY)", "mysql")
        .where(TASKS.c.id.in_(bindparam("task_ids", expanding=True)))
        .order_by(TASKS.c.id)
        .with_for_update()
    )


#: Made once: to put a statement together takes as long as to run it.
LOCK_FOR_SETTLING = lock_tasks(_SETTLED)


def settle(
    connection: Connection,
    decisions: Mapping[Fence, Decision],
    progress: Mapping[Fence, Progress],
    *,
    use_outbox: bool,
) -> dict[Fence, Status]:
    """Write what was decided, and how far the attempts had come, in the caller's transaction.

    An attempt that is not the current one, or no longer PROCESSING, changes nothing.

    Returns:
        The status that each task got, for the attempts that were current.
    """
    if not decisions:
        return {}
    rows = [
        row
        for row in connection.execute(
            LOCK_FOR_SETTLING, {"task_ids": sorted({fence.task_id for fence in decisions})}
        )
        if row.status == Status.PROCESSING and _fence(row) in decisions
    ]
    if not rows:
        return {}
    instant = now(connection)
    taken = {
        row.id: heed_cancel(decisions[_fence(row)])
        if row.cancel_requested
        else decisions[_fence(row)]
        for row in rows
    }
    plain = plain_results({_fence(row): taken[row.id] for row in rows}, progress)
    complete(connection, plain)
    others = [row for row in rows if _fence(row) not in plain]
    if others:
        written = [_task(r, taken[r.id], progress.get(_fence(r)), instant) for r in others]
        connection.execute(_WRITE, written)
    ledger = [_entry(row, taken[row.id], instant) for row in rows if taken[row.id].ledger]
    if ledger:
        upsert(connection, ATTEMPTS, ledger)
    promises = [
        {"task_id": row.id, "due_at": _due(row, taken[row.id], instant), "handed": False}
        for row in rows
        if taken[row.id].status is Status.PENDING
    ]
    if promises and use_outbox:
        upsert(connection, OUTBOX, promises)
    told = [row.id for row in rows if row.callback_url and taken[row.id].status in FINAL]
    write_webhooks(connection, told, instant, use_outbox=use_outbox)
    return {_fence(row): taken[row.id].status for row in rows}


def _fence(row: Row[Any]) -> Fence:
    return Fence(row.id, row.attempt)


def _due(row: Row[Any], decision: Decision, instant: datetime) -> Any:
    if decision.delay_seconds is None:
        return row.run_at
    # To the millisecond like the column, so that outbox and task stay equal.
    return instant + timedelta(milliseconds=round(decision.delay_seconds * 1000))


def _task(
    row: Row[Any], decision: Decision, progress: Progress | None, instant: datetime
) -> dict[str, Any]:
    final = decision.status in FINAL
    return {
        "task_id": row.id,
        "new_status": decision.status,
        "new_errors": row.errors + decision.more_errors,
        "new_crashes": row.crashes + decision.more_crashes,
        "new_run_at": _due(row, decision, instant),
        "new_worker_id": row.worker_id if final else None,
        "new_started_at": row.started_at if final else None,
        "new_completed_at": instant if final else None,
        "new_progress": progress.percent if progress else row.progress,
        "new_progress_note": progress.note if progress else row.progress_note,
        "new_result": decision.result,
        # A give-back says nothing new of the task itself.
        "new_error": row.error if decision.ledger == "released" else decision.error,
        "new_updated_at": instant,
    }


def _entry(row: Row[Any], decision: Decision, instant: datetime) -> dict[str, Any]:
    return {
        "task_id": row.id,
        "attempt": row.attempt,
        "worker_id": row.worker_id,
        "started_at": row.started_at,
        "finished_at": instant,
        "outcome": decision.ledger,
        "error": decision.error,
        "traceback": decision.traceback,
    }
