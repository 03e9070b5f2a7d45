"""Why a task is not finished, in words and as a code. ``explain`` is pure: facts in, reason out."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select

from src.contract import Status
from src.db.dialect import now
from src.models.tables import Attempt, Outbox, Task, TaskType, Worker
from src.services.transitions import find

#: Tasks ahead are counted up to here; beyond it is "10,000 or more".
MAX_AHEAD = 10_000
#: Seconds that a message may take on its way before the broker is named as what is waited for.
RELAY_SECONDS = 1.0


@dataclass(frozen=True)
class Facts:
    """What the tables say of a task and its surroundings, all at one moment."""

    task: RowMapping
    now: datetime
    #: When its message was due that is still to be sent; None: it is sent, or there is no broker.
    promised_at: datetime | None
    #: The ledger's latest entry.
    last: RowMapping | None
    workers: list[RowMapping]
    #: Errors that the task's type allows, if it says so.
    type_limit: int | None
    #: Tasks of the same priority that are due for longer.
    ahead: int


@dataclass(frozen=True)
class Reason:
    """``code`` is stable, ``detail`` is for people; ``facts`` are the numbers in it."""

    code: str
    detail: str
    facts: dict[str, Any] = field(default_factory=dict)


def gather(connection: Connection, task_id: str) -> Facts:
    """Read what is needed, in a transaction that sees one moment.

    Raises:
        TaskNotFound: no row has this id.
    """
    task = find(connection, task_id)
    last = select(*Attempt.__table__.columns).where(Attempt.task_id == task_id)
    waits = task["status"] == Status.PENDING
    return Facts(
        task=task,
        now=now(connection),
        promised_at=connection.scalar(select(Outbox.due_at).where(Outbox.task_id == task_id)),
        last=connection.execute(last.order_by(Attempt.attempt.desc()).limit(1)).mappings().first(),
        workers=list(connection.execute(select(*Worker.__table__.columns)).mappings()),
        type_limit=connection.scalar(
            select(TaskType.max_attempts).where(TaskType.name == task["type"])
        ),
        ahead=_count_ahead(connection, task) if waits else 0,
    )


def explain(facts: Facts, broker: str) -> Reason:
    """Return why the task is where it is. ``broker``: its state as this process knows it."""
    match Status(facts.task["status"]):
        case Status.PENDING if facts.task["run_at"] > facts.now:
            return _not_due(facts)
        case Status.PENDING:
            return _due(facts, broker)
        case Status.PROCESSING:
            return _running(facts)
        case final:
            return _finished(facts, final)


def _not_due(facts: Facts) -> Reason:
    task, due = facts.task, facts.task["run_at"]
    known = {"due_at": due}
    if facts.last is None or facts.last["attempt"] != task["attempt"]:
        return Reason("scheduled", f"It is due at {_at(due)}; nothing is done before.", known)
    if facts.last["outcome"] in ("error", "timeout"):
        limit = _limit(facts)
        of = f" of {limit}" if limit else ""
        return Reason(
            "retry_scheduled",
            f"Attempt {task['attempt']} failed ({facts.last['error']}). "
            f"Error {task['errors']}{of}; it is tried again at {_at(due)}.",
            {**known, "errors": task["errors"], "max_attempts": limit},
        )
    return Reason(
        "retry_scheduled",
        f"Attempt {task['attempt']} did not end ({facts.last['outcome']}: {facts.last['error']}). "
        f"It is run again at {_at(due)}.",
        known,
    )


def _limit(facts: Facts) -> int | None:
    """Return the errors that the task is allowed: its own limit, its type's, or its workers'."""
    workers = [w["max_attempts"] for w in facts.workers if facts.task["type"] in w["types"]]
    return facts.task["max_attempts"] or facts.type_limit or max(workers, default=None)


def _due(facts: Facts, broker: str) -> Reason:
    task = facts.task
    since = task["run_at"]
    serving = [w for w in facts.workers if task["type"] in w["types"] and is_live(w, facts.now)]
    more = " or more" if facts.ahead == MAX_AHEAD else ""
    known = {"since": since, "ahead": facts.ahead, "workers": len(serving)}
    queue = f"{facts.ahead:,}{more} of its priority are ahead of it."
    if not serving:
        return Reason(
            "no_worker",
            f"No live worker serves the type {task['type']!r}; start one that does. "
            f"It has been due since {_at(since)}; {queue}",
            known,
        )
    lost = facts.last is not None and (facts.last["attempt"], facts.last["outcome"]) == (
        task["attempt"],
        "worker_lost",
    )
    # A retry request forgets crashes.
    if lost and task["crashes"] and facts.last is not None:
        return Reason(
            "rescued",
            f"Attempt {task['attempt']} was lost ({facts.last['error']}), and the task was rescued "
            f"at {_at(facts.last['finished_at'])}. It is run again; {queue}",
            {**known, "lost_worker": facts.last["worker_id"]},
        )
    overdue = facts.now - timedelta(seconds=RELAY_SECONDS)
    if facts.promised_at is not None and facts.promised_at <= overdue:
        return Reason(
            "waiting_for_broker",
            f"Its message has been waiting for the broker ({broker}) since "
            f"{_at(facts.promised_at)}. Without it a worker takes the task from the table, within "
            f"FALLBACK_SECONDS; {queue}",
            {**known, "since": facts.promised_at, "broker": broker},
        )
    return Reason(
        "queued",
        f"It has been due since {_at(since)} and waits for a free slot of {len(serving)} "
        f"worker{'' if len(serving) == 1 else 's'}; {queue}",
        known,
    )


def _running(facts: Facts) -> Reason:
    task = facts.task
    worker = next((w for w in facts.workers if w["id"] == task["worker_id"]), None)
    on = f"Attempt {task['attempt']} on worker {task['worker_id']} since {_at(task['started_at'])}"
    known = {"since": task["started_at"], "worker": task["worker_id"]}
    if worker is None:
        return Reason(
            "worker_gone", f"{on}; but that worker is gone. Another one will rescue it.", known
        )
    silent = (facts.now - worker["beat_at"]).total_seconds()
    known = {**known, "heartbeat_age_seconds": round(silent, 1)}
    if not is_live(worker, facts.now):
        return Reason(
            "worker_silent",
            f"{on}; but that worker has given no sign of life for {silent:.0f} s. Another one will "
            "rescue the task, if one lives.",
            known,
        )
    if task["cancel_requested"]:
        return Reason(
            "cancelling", f"{on}. It is to be cancelled; the worker is being told.", known
        )
    how_far = "" if task["progress"] is None else f" Progress: {task['progress']} %."
    return Reason("running", f"{on}; its heartbeat is {silent:.0f} s old.{how_far}", known)


def _finished(facts: Facts, status: Status) -> Reason:
    task = facts.task
    why = f" ({task['error']})" if task["error"] else ""
    again = "" if status is Status.COMPLETED else " POST …/retry runs it again."
    return Reason(
        status.lower(),
        f"It is finished: {status} since {_at(task['completed_at'])}{why}.{again}",
        {"since": task["completed_at"]},
    )


def is_live(worker: RowMapping, instant: datetime) -> bool:
    """Tell whether a worker's last sign of life is within its lease. Decides nothing: who is
    dead the workers find out by their own clocks."""
    return bool(instant - worker["beat_at"] <= timedelta(seconds=worker["lease_seconds"]))


def _count_ahead(connection: Connection, task: RowMapping) -> int:
    ahead = (
        select(Task.id)
        .with_hint(Task, "FORCE INDEX (tasks_due)", "mysql")
        .where(
            Task.status == Status.PENDING,
            Task.priority == task["priority"],
            Task.run_at < task["run_at"],
        )
        .limit(MAX_AHEAD)
        .subquery()
    )
    return connection.scalar(select(func.count()).select_from(ahead)) or 0


def _at(instant: datetime | None) -> str:
    return "an unknown time" if instant is None else instant.isoformat(timespec="seconds") + "Z"
