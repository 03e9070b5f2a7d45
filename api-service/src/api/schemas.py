"""The bodies of submissions and what they are answered with, as clients and Swagger UI see them."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictInt,
    StringConstraints,
    model_validator,
)

from src.api.values import (
    instant,
    not_blank,
    rfc3339,
    storable_description,
    storable_object,
    storable_text,
)
from src.contract import DEFAULT_TYPE
from src.services.new_tasks import Repeatable, Submission
from src.webhooks import WEBHOOK_TYPE

TASK_ID = "01931f6e-8a37-7c31-b1f5-3f0c2a9d7e10"
SUBMISSION: dict[str, JsonValue] = {
    "title": "Monthly report",
    "description": "Collect the figures of October and send them round",
    "metadata": {"priority": "high", "simulate": {"seconds": 3}},
}

#: How far ahead a task may be scheduled.
MAX_AHEAD = timedelta(days=366)
MAX_BATCH = 1_000
#: What a worker judges further: its host and addresses.
CALLBACK_URL = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20\x7f@\\/?#]+([/?#][^\x00-\x20\x7f]*)?$"

#: What ``storable_text`` and ``not_blank`` ask for, as far as a pattern can say it.
SAYS_SOMETHING = Field(json_schema_extra={"pattern": r"^[^\x00]*[^\x00\s\x1c-\x1f\x85][^\x00]*$"})

Title = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    SAYS_SOMETHING,
    AfterValidator(storable_text),
    AfterValidator(not_blank),
]
Description = Annotated[
    str,
    StringConstraints(min_length=1),
    SAYS_SOMETHING,
    AfterValidator(storable_text),
    AfterValidator(not_blank),
    AfterValidator(storable_description),
]
TypeName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    SAYS_SOMETHING,
    AfterValidator(storable_text),
    AfterValidator(not_blank),
]
Priority = Literal["high", "normal", "low"]
Instant = Annotated[AwareDatetime, BeforeValidator(rfc3339)]


def _not_too_far(value: datetime) -> datetime:
    if value - datetime.now(UTC) > MAX_AHEAD:
        raise ValueError(f"must be at most {MAX_AHEAD.days} days ahead")
    return value


def _no_webhook(value: str) -> str:
    if value == WEBHOOK_TYPE:
        raise ValueError("is made by the queue itself; give a callback_url to be told of a task")
    return value


class SubmitTask(BaseModel):
    """A task to run."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [SUBMISSION]})

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

    type: Annotated[TypeName, AfterValidator(_no_webhook)] | None = Field(
        default=None,
        description=(
            "Which handler runs it; `simulate` if absent. Another one must have been told of by a "
            "worker, and `metadata` must fit its JSON Schema."
        ),
    )
    priority: Priority | None = Field(
        default=None, description="Goes before `metadata.priority`; `normal` if neither says."
    )
    run_at: Annotated[Instant, AfterValidator(_not_too_far)] | None = Field(
        default=None,
        description=(
            "Not before this time; RFC 3339 with a zone, at most 366 days ahead. A time that has "
            "passed means now."
        ),
    )
    delay_seconds: (
        Annotated[
            float,
            Field(strict=True, ge=0, le=MAX_AHEAD.total_seconds(), allow_inf_nan=False),
        ]
        | None
    ) = Field(default=None, description="Not before so many seconds from now; or `run_at`.")
    max_attempts: Annotated[StrictInt, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Errors after which it is FAILED; else as its type says."
    )
    timeout_seconds: Annotated[StrictInt, Field(ge=1, le=604_800)] | None = Field(
        default=None, description="How long one attempt may take; else as its type says."
    )

    callback_url: (
        Annotated[
            str,
            StringConstraints(max_length=2048, pattern=CALLBACK_URL),
            AfterValidator(storable_text),
        ]
        | None
    ) = Field(
        default=None,
        description=(
            "Gets a signed POST once the task is final (a webhook): http:// or https://, without "
            "user and password. Only where the service has a WEBHOOK_SECRET."
        ),
    )

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if self.run_at is not None and self.delay_seconds is not None:
            raise ValueError("give run_at or delay_seconds, not both")
        return self

    def wish(self, submitted_by: str | None) -> Submission:
        """Return what is asked for; ``submitted_by``: the name of the key, where there are keys."""
        return Submission(
            title=self.title,
            description=self.description,
            details=self.metadata,
            type=self.type or DEFAULT_TYPE,
            priority=self.priority,
            run_at=self.run_at and instant(self.run_at),
            delay=(
                None
                if self.delay_seconds is None
                else timedelta(milliseconds=round(self.delay_seconds * 1000))
            ),
            max_attempts=self.max_attempts,
            timeout_seconds=self.timeout_seconds,
            submitted_by=submitted_by,
            callback_url=self.callback_url,
        )

    def repeatable(self, key: str) -> Repeatable:
        """Return how to know this submission again: an absent field and a null are the same."""
        said = {name: value for name, value in self if value is not None}
        written = json.dumps(said, sort_keys=True, default=lambda at: instant(at).isoformat())
        return Repeatable(key, hashlib.sha256(written.encode()).hexdigest())


class SubmitBatch(BaseModel):
    """Tasks to store together, all or none."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "tasks": [
                        {"title": "Page 1", "description": "Render it"},
                        {"title": "Page 2", "description": "Render it", "priority": "low"},
                    ]
                }
            ]
        },
    )

    tasks: Annotated[list[SubmitTask], Field(min_length=1, max_length=MAX_BATCH)] = Field(
        description=f"1 to {MAX_BATCH:,}, each as for a single submission"
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


class BatchSubmitted(BaseModel):
    """The tasks are stored and will be run."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "task_ids": [TASK_ID, "01931f6e-8a38-7a02-9a6e-52d1f0c7b4a3"],
                    "message": "2 tasks submitted successfully",
                }
            ]
        }
    )

    task_ids: list[str] = Field(description="In the order of the request")
    message: str


class WebhookSent(BaseModel):
    """Another webhook is stored and will be sent."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"task_id": TASK_ID, "message": "Webhook will be sent"}]}
    )

    task_id: str = Field(description="Of the task that sends it; its type is `webhook`")
    message: str = "Webhook will be sent"


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
