"""What is asked for of many tasks: filters, pages, and one action on all of them."""

import uuid
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from src.api.schemas import SAYS_SOMETHING, TASK_ID, Instant, Priority, TypeName
from src.api.values import ABSENT, instant, not_blank, storable_text
from src.contract import PRIORITIES, Status, parse_task_id
from src.services.listing import Filter
from src.services.transitions import Action

MAX_LIMIT = 200
MAX_IDS = 1_000
MAX_TYPES = 10
MAX_WORDS = 10

_Words = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    SAYS_SOMETHING,
    AfterValidator(storable_text),
    AfterValidator(not_blank),
]


def _few_words(value: str) -> str:
    if len(value.split()) > MAX_WORDS:
        raise ValueError(f"must have at most {MAX_WORDS} words")
    return value


def _task_id(value: str) -> str:
    known_form = parse_task_id(value)
    if known_form is None:
        raise ValueError("must be a task's id, as the submission returned it")
    return known_form


def decode_cursor(cursor: str) -> str:
    """Return the id behind which a page begins."""
    return str(uuid.UUID(cursor))


def encode_cursor(task_id: str) -> str:
    return uuid.UUID(task_id).hex


Cursor = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]


class TaskFilter(BaseModel):
    """Which tasks; several fields must all fit, several values of one are alternatives."""

    model_config = ConfigDict(extra="forbid")

    status: list[Status] = Field(
        default=ABSENT, min_length=1, max_length=5, description="Several may be named"
    )
    type: list[TypeName] = Field(
        default=ABSENT, min_length=1, max_length=MAX_TYPES, description="Several may be named"
    )
    priority: list[Priority] = Field(
        default=ABSENT, min_length=1, max_length=3, description="Several may be named"
    )
    created_after: Instant = Field(
        default=ABSENT, description="RFC 3339 with a zone; this moment included"
    )
    created_before: Instant = Field(
        default=ABSENT, description="RFC 3339 with a zone; this moment excluded"
    )
    q: Annotated[_Words, AfterValidator(_few_words)] = Field(
        default=ABSENT,
        description=(
            "A task's id, or words that its title holds, all of them. A page looks for words among "
            "50,000 tasks that the other filters leave, and says so in `searched`."
        ),
    )

    error: _Words = Field(
        default=ABSENT,
        description=(
            "The class of its error, as in the `failures` of `GET /api/stats`: what stands before "
            "the first colon. Looked for as words are."
        ),
    )

    def filter(self) -> Filter:
        return Filter(
            statuses=tuple(sorted(set(self.status or ()))),
            # The column is ASCII and cannot be compared with anything else; no type is "".
            types=tuple(sorted({name if name.isascii() else "" for name in self.type or ()})),
            priorities=tuple(sorted({PRIORITIES[name] for name in self.priority or ()})),
            created_after=instant(self.created_after) if self.created_after else None,
            created_before=instant(self.created_before) if self.created_before else None,
            words=(self.q or "").strip(),
            error=(self.error or "").strip(),
        )


class BulkFilter(TaskFilter):
    """As for the list; it must name something."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.filter() == Filter():
            raise ValueError("must name something; for all tasks name every status")
        return self


class ListQuery(TaskFilter):
    """A page of tasks."""

    limit: int = Field(default=50, ge=1, le=MAX_LIMIT, description="Tasks on a page")
    cursor: Cursor = Field(
        default=ABSENT, description="The `next` of the page before; with the same filters"
    )


class BulkAction(BaseModel):
    """One action on many tasks, chosen by a filter or by their ids."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"action": "retry", "filter": {"status": ["FAILED"]}, "dry_run": True},
                {"action": "cancel", "task_ids": [TASK_ID]},
            ],
            "oneOf": [{"required": ["filter"]}, {"required": ["task_ids"]}],
            "dependentRequired": {"cursor": ["filter"]},
        },
    )

    action: Action = Field(
        description=(
            "`cancel` what waits or runs, `retry` what is FAILED or CANCELLED, `delete` what does "
            "not run"
        )
    )
    filter: BulkFilter = Field(default=ABSENT, description="Or `task_ids`")
    task_ids: Annotated[
        list[Annotated[str, AfterValidator(_task_id), Field(json_schema_extra={"format": "uuid"})]],
        Field(min_length=1, max_length=MAX_IDS),
    ] = Field(default=ABSENT, description=f"1 to {MAX_IDS:,} ids. Or `filter`")
    cursor: Cursor = Field(
        default=ABSENT, description="The `next` of the request before; with the same filter"
    )
    dry_run: bool = Field(default=False, strict=True, description="Only count")

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if (self.filter is None) == (self.task_ids is None):
            raise ValueError("give filter or task_ids, one of them")
        if self.cursor and self.task_ids:
            raise ValueError("cursor goes with filter; with task_ids leave it out")
        return self


class BulkResult(BaseModel):
    """What came of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "action": "retry",
                    "dry_run": False,
                    "count": 3,
                    "skipped": {"COMPLETED": 1, "unknown": 1},
                    "next": None,
                }
            ]
        }
    )

    action: Action
    dry_run: bool
    count: int = Field(description="Tasks that it changed, or with `dry_run` would have")
    skipped: dict[Status | Literal["told", "unknown"], int] = Field(
        description=(
            "Others that it looked at, by reason: their status; `told`: a running one is being "
            "cancelled already; `unknown`: there is no such task"
        )
    )
    next: str | None = Field(
        description="There are older ones: send it again with this as `cursor`. null: all is done"
    )
