"""The whole as it is shown: statistics, workers, types, and why a task is not finished."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from src.api.schemas import TASK_ID, Priority
from src.api.values import precise
from src.api.views import WORKER_ID
from src.contract import Status
from src.services.explain import Reason, is_live
from src.services.statistics import MAX_COUNT, Statistics
from src.services.workforce import KnownType, Workforce

_TIME = "2026-01-23T04:17:34.120Z"


class Explanation(BaseModel):
    """Why a task is not finished."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "task_id": TASK_ID,
                    "code": "queued",
                    "detail": (
                        "It has been due since 2026-01-23T04:17:34Z and waits for a free slot of 2 "
                        "workers; 12 of its priority are ahead of it."
                    ),
                    "facts": {"since": _TIME, "ahead": 12, "workers": 2},
                }
            ]
        }
    )

    task_id: str
    code: str = Field(
        description=(
            "Waits: `scheduled`, `retry_scheduled`, `queued`, `no_worker`, `waiting_for_broker`, "
            "`rescued`. Runs: `running`, `cancelling`, `worker_silent`, `worker_gone`. Finished: "
            "`completed`, `failed`, `cancelled`"
        )
    )
    detail: str = Field(description="The same in words")
    facts: dict[str, Any] = Field(
        description="What is in the words; `ahead` is counted up to 10,000"
    )

    @classmethod
    def of(cls, task_id: str, reason: Reason) -> "Explanation":
        facts = {
            name: precise(value) if isinstance(value, datetime) else value
            for name, value in reason.facts.items()
        }
        return cls(task_id=task_id, code=reason.code, detail=reason.detail, facts=facts)


class Count(BaseModel):
    """A number of tasks, cut off at 10,000."""

    count: int
    or_more: bool = Field(description="There may be more than that")

    @classmethod
    def of(cls, count: int) -> "Count":
        return cls(count=count, or_more=count >= MAX_COUNT)


class MinuteView(BaseModel):
    """What came and ended in a minute."""

    minute: str = Field(description="Its beginning, UTC")
    submitted: int
    completed: int
    failed: int
    cancelled: int


class TimesView(BaseModel):
    """Milliseconds that half, and 95 %, did not exceed; null: nothing finished yet."""

    p50: int | None
    p95: int | None


class FailureView(BaseModel):
    """Failed tasks of a type that failed in the same way."""

    type: str
    error: str = Field(description="Its class: what stands before the first colon of `error`")
    count: int
    latest_at: str
    latest_task_id: str


class Part(BaseModel):
    """How a server is, as this process of the API knows it."""

    state: str = Field(description="`connected`, `connecting`, `away` or `none`")
    since: str | None


_COUNT: JsonValue = {"count": 3, "or_more": False}
_NONE: JsonValue = {"count": 0, "or_more": False}
_MANY: JsonValue = {"count": 10_000, "or_more": True}


class Stats(BaseModel):
    """The state of the whole in numbers."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "at": _TIME,
                    "by_status": {
                        "PENDING": _COUNT,
                        "PROCESSING": _NONE,
                        "COMPLETED": _MANY,
                        "FAILED": _COUNT,
                        "CANCELLED": _NONE,
                    },
                    "by_type": {"simulate": _MANY},
                    "by_priority": {"high": _COUNT, "normal": _MANY, "low": _NONE},
                    "oldest_due_seconds": 0.4,
                    "minutes": [
                        {
                            "minute": "2026-01-23T04:17:00.000Z",
                            "submitted": 60,
                            "completed": 57,
                            "failed": 1,
                            "cancelled": 0,
                        }
                    ],
                    "finished": 1000,
                    "wait_ms": {"p50": 7, "p95": 31},
                    "run_ms": {"p50": 2003, "p95": 2011},
                    "failures": [
                        {
                            "type": "simulate",
                            "error": "SimulatedError",
                            "count": 3,
                            "latest_at": _TIME,
                            "latest_task_id": TASK_ID,
                        }
                    ],
                    "database": {"state": "connected", "since": _TIME},
                    "broker": {"state": "connected", "since": _TIME},
                }
            ]
        }
    )

    at: str = Field(description="When, by the database's clock")
    by_status: dict[Status, Count]
    by_type: dict[str, Count]
    by_priority: dict[Priority, Count]
    oldest_due_seconds: float | None = Field(
        description="How long the task that waits longest has been due; null: none waits"
    )
    minutes: list[MinuteView] = Field(
        description=(
            "The last 3 hours, oldest first, the current minute last. A minute that is missing was "
            "not counted yet: ask again"
        )
    )
    finished: int = Field(
        description="From how many tasks the times are: the latest COMPLETED and FAILED ones, 1,000"
    )
    wait_ms: TimesView = Field(description="From `run_at` to the start of the last attempt")
    run_ms: TimesView = Field(description="Of the last attempt")
    failures: list[FailureView] = Field(description="Of the latest 1,000 FAILED tasks")
    database: Part
    broker: Part

    @classmethod
    def of(cls, numbers: Statistics, database: Part, broker: Part) -> "Stats":
        oldest = numbers.oldest_due_at
        return cls.model_validate(
            {
                "at": precise(numbers.now),
                "by_status": _counts(numbers.by_status),
                "by_type": _counts(numbers.by_type),
                "by_priority": _counts(numbers.by_priority),
                "oldest_due_seconds": oldest and _seconds(numbers.now - oldest),
                "minutes": [{**vars(m), "minute": precise(m.minute)} for m in numbers.minutes],
                "finished": numbers.finished,
                "wait_ms": vars(numbers.wait),
                "run_ms": vars(numbers.run),
                "failures": [
                    {**vars(f), "latest_at": precise(f.latest_at)} for f in numbers.failures
                ],
                "database": database,
                "broker": broker,
            }
        )


class RunningTask(BaseModel):
    """What a worker runs."""

    task_id: str
    title: str
    type: str
    attempt: int
    started_at: str
    progress: int | None
    progress_note: str | None


class WorkerView(BaseModel):
    """A worker process."""

    worker: str = Field(description="The id of this start of the process")
    host: str
    pid: int
    started_at: str
    heartbeat_age_seconds: float = Field(description="Since its last sign of life")
    is_live: bool = Field(description="Its last sign of life is within its lease")
    concurrency: int = Field(description="Slots")
    max_attempts: int = Field(
        description="Errors until a task is FAILED, where neither it nor its type says"
    )
    busy: int = Field(description="Slots in use, as of its last sign of life")
    processed: int = Field(description="Attempts that ended, well or not")
    failed: int = Field(description="Of these, errors and time-outs")
    types: list[str] = Field(description="What it can run")
    running: list[RunningTask] = Field(description="Its tasks in PROCESSING")


class WorkerList(BaseModel):
    """The workers, by their start."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "workers": [
                        {
                            "worker": WORKER_ID,
                            "host": "worker-1",
                            "pid": 7,
                            "started_at": _TIME,
                            "heartbeat_age_seconds": 1.2,
                            "is_live": True,
                            "concurrency": 8,
                            "max_attempts": 3,
                            "busy": 1,
                            "processed": 57,
                            "failed": 1,
                            "types": ["simulate"],
                            "running": [
                                {
                                    "task_id": TASK_ID,
                                    "title": "Monthly report",
                                    "type": "simulate",
                                    "attempt": 1,
                                    "started_at": _TIME,
                                    "progress": 40,
                                    "progress_note": None,
                                }
                            ],
                        }
                    ]
                }
            ]
        }
    )

    workers: list[WorkerView]

    @classmethod
    def of(cls, force: Workforce) -> "WorkerList":
        return cls(
            workers=[
                WorkerView(
                    worker=row["id"],
                    host=row["host"],
                    pid=row["pid"],
                    started_at=precise(row["started"]),
                    heartbeat_age_seconds=_seconds(force.now - row["beat_at"]),
                    is_live=is_live(row, force.now),
                    concurrency=row["concurrency"],
                    max_attempts=row["max_attempts"],
                    busy=row["busy"],
                    processed=row["processed"],
                    failed=row["failed"],
                    types=row["types"],
                    running=[_running(task) for task in force.running.get(row["id"], [])],
                )
                for row in force.workers
            ]
        )


class TypeView(BaseModel):
    """A type of task that a worker has told of."""

    name: str
    description: str | None
    payload_schema: Any | None = Field(description="JSON Schema of `metadata`; null: anything")
    max_attempts: int | None
    timeout_seconds: int | None
    updated_at: str = Field(description="When a worker told of it last")
    live_workers: int = Field(description="Live workers that serve it")


class TypeList(BaseModel):
    """What can be submitted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "types": [
                        {
                            "name": "send_invoice",
                            "description": "Write an invoice and send it",
                            "payload_schema": {
                                "type": "object",
                                "properties": {"customer": {"type": "string"}},
                                "required": ["customer"],
                            },
                            "max_attempts": 5,
                            "timeout_seconds": 30,
                            "updated_at": _TIME,
                            "live_workers": 2,
                        }
                    ]
                }
            ]
        }
    )

    types: list[TypeView]

    @classmethod
    def of(cls, known: list[KnownType]) -> "TypeList":
        return cls(
            types=[
                TypeView(
                    **{**entry.row, "updated_at": precise(entry.row["updated_at"])},
                    live_workers=entry.live_workers,
                )
                for entry in known
            ]
        )


def _running(task: Mapping[Any, Any]) -> RunningTask:
    return RunningTask(
        task_id=task["id"],
        title=task["title"],
        type=task["type"],
        attempt=task["attempt"],
        started_at=precise(task["started_at"]),
        progress=task["progress"],
        progress_note=task["progress_note"],
    )


def _counts(numbers: Mapping[str, int]) -> dict[str, Count]:
    return {name: Count.of(count) for name, count in numbers.items()}


def _seconds(span: timedelta) -> float:
    return round(max(span.total_seconds(), 0.0), 3)
