"""Tasks as they are shown: one whole, many in short, and their attempts."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from src.api.schemas import SUBMISSION, TASK_ID, Priority
from src.api.values import plain, precise
from src.contract import Status
from src.services.ledger import Ledger
from src.services.listing import Page

_PRIORITY_NAMES: dict[int, Priority] = {0: "high", 1: "normal", 2: "low"}

WORKER_ID = "9a4c6a0e-6d0f-4c5a-8a39-2f1c6f5d7b11"
_SHORT: dict[str, JsonValue] = {
    "task_id": TASK_ID,
    "title": SUBMISSION["title"],
    "status": "COMPLETED",
    "created_at": "2026-01-23T04:17:34",
    "updated_at": "2026-01-23T04:17:37",
    "completed_at": "2026-01-23T04:17:37",
    "type": "simulate",
    "priority": "high",
    "attempt": 1,
    "errors": 0,
    "crashes": 0,
    "max_attempts": None,
    "timeout_seconds": None,
    "run_at": "2026-01-23T04:17:34.120Z",
    "started_at": "2026-01-23T04:17:34.131Z",
    "wait_ms": 11,
    "duration_ms": 3004,
    "worker": WORKER_ID,
    "progress": 100,
    "progress_note": None,
    "error": None,
    "submitted_by": None,
    "callback_url": None,
}
TASK_EXAMPLE: dict[str, JsonValue] = {
    **_SHORT,
    "description": SUBMISSION["description"],
    "metadata": SUBMISSION["metadata"],
    "result": {"slept_seconds": 3},
}
CURSOR = TASK_ID.replace("-", "")


_Status = Annotated[
    Status,
    Field(
        description=(
            "`PENDING`: waits; `PROCESSING`: runs; final are `COMPLETED`, `FAILED` and `CANCELLED`"
        )
    ),
]


class _Course(BaseModel):
    """How it went so far."""

    created_at: str = Field(description="UTC, to the second, without zone")
    updated_at: str = Field(description="UTC, to the second, without zone")
    completed_at: str | None = Field(description="When it became final; UTC, without zone")
    type: str
    priority: Priority
    attempt: int = Field(description="Executions begun so far")
    errors: int = Field(description="Attempts that ended with an error")
    crashes: int = Field(description="Attempts whose worker was lost")
    max_attempts: int | None = Field(description="null: as its type says, or MAX_ATTEMPTS")
    timeout_seconds: int | None = Field(
        description="Limit of one attempt; null: as its type says, or TASK_TIMEOUT_SECONDS"
    )
    run_at: str = Field(description="Not run before this; RFC 3339")
    started_at: str | None = Field(
        description="When the latest attempt began; null while the next one is waited for"
    )
    wait_ms: int | None = Field(description="From `run_at` to the start of the latest attempt")
    duration_ms: int | None = Field(description="How long the last attempt took, once it is final")
    worker: str | None = Field(
        description="Who runs it or ran it last; null while the next attempt is waited for"
    )
    progress: int | None = Field(description="0 to 100, as the handler says; null: it says nothing")
    progress_note: str | None = Field(description="A line that the handler wrote about it")
    error: str | None = Field(
        description="Why the last attempt that ended did not succeed; null after a success"
    )
    submitted_by: str | None = Field(description="The name of the API key; null: it took none")
    callback_url: str | None = Field(description="Who is told when it is final")


class _Head(BaseModel):
    task_id: str
    title: str
    status: _Status


class _WholeHead(BaseModel):
    task_id: str
    title: str
    description: str
    status: _Status
    metadata: dict[str, Any] | None


# Fields of the last base come first.
class TaskSummary(_Course, _Head):
    """A task without its long fields."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SHORT]})

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> "TaskSummary":
        return cls(**_short(row))


class TaskView(_Course, _WholeHead):
    """A task as it stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [TASK_EXAMPLE]})

    result: Any | None = Field(description="What the handler returned")

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> "TaskView":
        return cls(
            **_short(row),
            description=row["description"],
            metadata=row["metadata"],
            result=row["result"],
        )


class Searched(BaseModel):
    """How far a page looked for words."""

    rows: int = Field(description="Tasks that it looked at, at most 50,000")
    back_to: str | None = Field(description="When the oldest of them was created; UTC")


class TaskList(BaseModel):
    """Tasks, newest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"tasks": [_SHORT], "next": CURSOR, "searched": None}]}
    )

    tasks: list[TaskSummary]
    next: str | None = Field(description="The `cursor` of the next page; null: there is none")
    searched: Searched | None = Field(description="With `error` or words in `q`: how far it looked")

    @classmethod
    def of(cls, page: Page, cursor: str | None) -> "TaskList":
        searched = None
        if page.searched is not None:
            back_to = page.searched_back_to
            searched = Searched(rows=page.searched, back_to=precise(back_to) if back_to else None)
        return cls(
            tasks=[TaskSummary.of(row) for row in page.tasks], next=cursor, searched=searched
        )


class AttemptView(BaseModel):
    """One execution of a task."""

    attempt: int = Field(description="Counted from 1")
    outcome: Literal[
        "completed", "running", "error", "timeout", "worker_lost", "cancelled", "released"
    ] = Field(description="`released`: given back unfinished by a worker that stopped")
    worker: str | None
    started_at: str | None
    finished_at: str | None
    duration_ms: int | None
    error: str | None
    traceback: str | None = Field(description="Of the handler, cut to its end")


class AttemptList(BaseModel):
    """The attempts of a task in their order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "attempts": [
                        {
                            "attempt": 1,
                            "outcome": "error",
                            "worker": WORKER_ID,
                            "started_at": "2026-01-23T04:17:34.131Z",
                            "finished_at": "2026-01-23T04:17:34.135Z",
                            "duration_ms": 4,
                            "error": "SimulatedError: printer on fire",
                            "traceback": "Traceback (most recent call last): …",
                        }
                    ]
                }
            ]
        }
    )

    attempts: list[AttemptView] = Field(description="The latest 200, and the one that runs")

    @classmethod
    def of(cls, ledger: Ledger) -> "AttemptList":
        attempts = [_attempt(row, row["outcome"], row["finished_at"]) for row in ledger.attempts]
        task = ledger.task
        outcome = {Status.PROCESSING: "running", Status.COMPLETED: "completed"}.get(task["status"])
        if outcome:
            # What succeeded, or goes on, is in the task's row alone.
            latest = {**task, "error": None, "traceback": None}
            attempts.append(_attempt(latest, outcome, task["completed_at"]))
        return cls(attempts=attempts)


def _attempt(row: Mapping[Any, Any], outcome: Any, finished_at: datetime | None) -> AttemptView:
    return AttemptView(
        attempt=row["attempt"],
        outcome=outcome,
        worker=row["worker_id"],
        started_at=precise(row["started_at"]) if row["started_at"] else None,
        finished_at=precise(finished_at) if finished_at else None,
        duration_ms=_between(row["started_at"], finished_at),
        error=row["error"],
        traceback=row["traceback"],
    )


def _short(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "task_id": row["id"],
        "title": row["title"],
        "status": row["status"],
        "created_at": plain(row["created_at"]),
        "updated_at": plain(row["updated_at"]),
        "completed_at": row["completed_at"] and plain(row["completed_at"]),
        "type": row["type"],
        "priority": _PRIORITY_NAMES[row["priority"]],
        "attempt": row["attempt"],
        "errors": row["errors"],
        "crashes": row["crashes"],
        "max_attempts": row["max_attempts"],
        "timeout_seconds": row["timeout_seconds"],
        "run_at": precise(row["run_at"]),
        "started_at": precise(row["started_at"]) if row["started_at"] else None,
        "wait_ms": _between(row["run_at"], row["started_at"]),
        "duration_ms": _between(row["started_at"], row["completed_at"]),
        "worker": row["worker_id"],
        "progress": row["progress"],
        "progress_note": row["progress_note"],
        "error": row["error"],
        "submitted_by": row["submitted_by"],
        "callback_url": row["callback_url"],
    }


def _between(begin: datetime | None, end: datetime | None) -> int | None:
    return None if begin is None or end is None else round((end - begin).total_seconds() * 1000)
