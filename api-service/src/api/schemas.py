"""The bodies of requests and responses, as clients and Swagger UI see them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictInt,
    StringConstraints,
)
from sqlalchemy import RowMapping

from src.api.values import not_blank, storable_description, storable_object, storable_text
from src.contract import DEFAULT_TYPE, PRIORITIES, Status
from src.services.writer import Submission

_PRIORITY_NAMES = {stored: name for name, stored in PRIORITIES.items()}

TASK_ID = "01931f6e-8a37-7c31-b1f5-3f0c2a9d7e10"
_SUBMISSION: dict[str, JsonValue] = {
    "title": "Monthly report",
    "description": "Collect the figures of October and send them round",
    "metadata": {"priority": "high", "simulate": {"seconds": 3}},
}

Title = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    AfterValidator(storable_text),
    AfterValidator(not_blank),
]
Description = Annotated[
    str,
    StringConstraints(min_length=1),
    AfterValidator(storable_text),
    AfterValidator(not_blank),
    AfterValidator(storable_description),
]


class SubmitTask(BaseModel):
    """A task to run."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_SUBMISSION]})

    title: Title = Field(description="What it is, in a line; not blank.")
    description: Description = Field(
        description="What is to be done; not blank, at most 65,535 bytes."
    )
    metadata: Annotated[dict[str, Any], AfterValidator(storable_object)] | None = Field(
        default=None,
        description=(
            "Any JSON object of yours, at most 64 KiB and 20 levels. `priority` "
            "(`high`, `normal`, `low`) orders the queue; `simulate` (`seconds`, `fail_attempts`, "
            "`error`) shapes the simulated work."
        ),
    )

    type: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        default=None,
        description=(
            "Which handler runs it; `simulate` if absent. Another one must have been told of by a "
            "worker, and `metadata` must fit its JSON Schema."
        ),
    )
    priority: Literal["high", "normal", "low"] | None = Field(
        default=None, description="Goes before `metadata.priority`; `normal` if neither says."
    )
    max_attempts: Annotated[StrictInt, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Errors after which it is FAILED; else as its type says."
    )
    timeout_seconds: Annotated[StrictInt, Field(ge=1, le=604_800)] | None = Field(
        default=None, description="How long one attempt may take; else as its type says."
    )

    def wish(self) -> Submission:
        return Submission(
            title=self.title,
            description=self.description,
            details=self.metadata,
            type=self.type or DEFAULT_TYPE,
            priority=self.priority,
            max_attempts=self.max_attempts,
            timeout_seconds=self.timeout_seconds,
        )


class TaskSubmitted(BaseModel):
    """The task is stored and will be run."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"task_id": TASK_ID, "message": "Task submitted successfully"}]
        }
    )

    task_id: str
    message: str = "Task submitted successfully"


class TaskView(BaseModel):
    """A task as it stands."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "task_id": TASK_ID,
                    **_SUBMISSION,
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
                    "duration_ms": 3004,
                    "worker": "9a4c6a0e-6d0f-4c5a-8a39-2f1c6f5d7b11",
                    "progress": 100,
                    "progress_note": None,
                    "result": {"slept_seconds": 3},
                    "error": None,
                }
            ]
        }
    )

    task_id: str
    title: str
    description: str
    status: Status
    metadata: dict[str, Any] | None
    created_at: str = Field(description="UTC, to the second, without zone")
    updated_at: str = Field(description="UTC, to the second, without zone")
    completed_at: str | None = Field(description="When it became final; UTC, without zone")
    type: str
    priority: str
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
    duration_ms: int | None = Field(description="How long the last attempt took, once it is final")
    worker: str | None = Field(
        description="Who runs it or ran it last; null while the next attempt is waited for"
    )
    progress: int | None = Field(description="0 to 100, as the handler says; null: it says nothing")
    progress_note: str | None = Field(description="A line that the handler wrote about it")
    result: Any | None = Field(description="What the handler returned")
    error: str | None = Field(
        description="Why the last attempt that ended did not succeed; null after a success"
    )

    @classmethod
    def of(cls, row: RowMapping) -> "TaskView":
        return cls(
            task_id=row["id"],
            title=row["title"],
            description=row["description"],
            status=row["status"],
            metadata=row["metadata"],
            created_at=_plain(row["created_at"]),
            updated_at=_plain(row["updated_at"]),
            completed_at=row["completed_at"] and _plain(row["completed_at"]),
            type=row["type"],
            priority=_PRIORITY_NAMES.get(row["priority"], str(row["priority"])),
            attempt=row["attempt"],
            errors=row["errors"],
            crashes=row["crashes"],
            max_attempts=row["max_attempts"],
            timeout_seconds=row["timeout_seconds"],
            run_at=_precise(row["run_at"]),
            started_at=row["started_at"] and _precise(row["started_at"]),
            duration_ms=_between(row["started_at"], row["completed_at"]),
            worker=row["worker_id"],
            progress=row["progress"],
            progress_note=row["progress_note"],
            result=row["result"],
            error=row["error"],
        )


class ProblemView(BaseModel):
    """An error, as RFC 9457 describes it."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What happened and what to do, in a sentence")
    instance: str
    request_id: str = Field(description="Find it in the log; also the header X-Request-ID")
    errors: list[dict[str, str]] | None = Field(
        default=None, description="For status 400: `field` and `message` of each"
    )


class Liveness(BaseModel):
    """The process is there."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: str = "ok"


class Health(BaseModel):
    """Whether the service can do its work."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"status": "ok", "database": "connected", "broker": "connected"}]
        }
    )

    status: str = Field(description="`ok`, or `degraded`: tasks are taken but start later")
    database: str
    broker: str = Field(description="`connected`, `connecting`, `away` or `none`")


def _plain(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S")


def _precise(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds") + "Z"


def _between(begin: datetime | None, end: datetime | None) -> int | None:
    return None if begin is None or end is None else round((end - begin).total_seconds() * 1000)
