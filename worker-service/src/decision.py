"""What becomes of a task after an attempt. Pure: values in, a value out."""

import random
from dataclasses import dataclass
from typing import Any

from src.contract import Status

#: Lost workers under one task after which it is not given to another.
MAX_CRASHES = 3
#: Characters kept of an error and of a traceback; a TEXT column holds 65,535 bytes.
ERROR_CHARACTERS = 4_000
TRACEBACK_CHARACTERS = 15_000


@dataclass(frozen=True)
class Success:
    """The handler returned. ``result`` can be written as JSON."""

    result: Any = None


@dataclass(frozen=True)
class Failure:
    """The handler raised; ``error`` is type and message."""

    error: str
    traceback: str = ""


@dataclass(frozen=True)
class Stopped:
    """The handler ended because it was told to, by a cancel request."""


@dataclass(frozen=True)
class WorkerLost:
    """The worker stopped giving signs of life."""

    worker_id: str


Outcome = Success | Failure | Stopped | WorkerLost


@dataclass(frozen=True)
class RetryPolicy:
    """How often a task may fail and how long to wait in between."""

    max_attempts: int
    base_seconds: float
    max_seconds: float

    def backoff(self, errors: int, spread: float) -> float:
        """Return the seconds to wait after that many errors.

        Doubles with each error up to the cap; ``spread`` in 0..1 takes off up to half of it, so
        that tasks which failed together do not come back together.
        """
        doubled = self.base_seconds * 2.0 ** min(errors - 1, 60)
        return min(doubled, self.max_seconds) * (1 - spread / 2)


@dataclass(frozen=True)
class Counts:
    """What a task has behind it, as its row says."""

    errors: int
    crashes: int
    max_attempts: int | None = None


@dataclass(frozen=True)
class Decision:
    """The row to write. ``ledger`` is the outcome's name there, None for a success.

    ``delay_seconds`` is for a retry; None leaves the task due as it was, so that what was given
    back or rescued is overdue already and anybody takes it at once.
    """

    status: Status
    ledger: str | None = None
    error: str | None = None
    traceback: str | None = None
    result: Any = None
    more_errors: int = 0
    more_crashes: int = 0
    delay_seconds: float | None = None


def decide(outcome: Outcome, counts: Counts, policy: RetryPolicy, spread: float) -> Decision:
    """Return what the attempt's outcome does to its task."""
    match outcome:
        case Success(result):
            return Decision(Status.COMPLETED, result=result)
        case Failure(error, traceback):
            errors = counts.errors + 1
            again = errors < (counts.max_attempts or policy.max_attempts)
            return Decision(
                Status.PENDING if again else Status.FAILED,
                ledger="error",
                error=clip(error, ERROR_CHARACTERS),
                traceback=clip(traceback, TRACEBACK_CHARACTERS),
                more_errors=1,
                delay_seconds=policy.backoff(errors, spread) if again else None,
            )
        case Stopped():
            return Decision(Status.CANCELLED, ledger="cancelled")
        case WorkerLost(worker_id):
            crashes = counts.crashes + 1
            again = crashes < MAX_CRASHES
            error = f"worker_lost: worker {worker_id} gave no sign of life"
            if not again:
                error += f"; {crashes} workers were lost under this task, it is not run again"
            return Decision(
                Status.PENDING if again else Status.FAILED,
                ledger="worker_lost",
                error=error,
                more_crashes=1,
            )


def release(reason: str) -> Decision:
    """Return what giving an attempt back unfinished does: nothing is counted against the task."""
    return Decision(Status.PENDING, ledger="released", error=reason)


def heed_cancel(decision: Decision) -> Decision:
    """Return what a decision becomes when a cancel was requested meanwhile.

    A success that is there stays one; anything else ends the task.
    """
    if decision.status is Status.COMPLETED:
        return decision
    return Decision(
        Status.CANCELLED,
        ledger="cancelled",
        error=decision.error,
        traceback=decision.traceback,
        more_errors=decision.more_errors,
        more_crashes=decision.more_crashes,
    )


def clip(text: str, characters: int) -> str:
    """Shorten a text and replace what no database keeps: NUL and lone surrogates."""
    clean = text.encode(errors="replace").decode().replace("\x00", "\ufffd")
    return clean if len(clean) <= characters else clean[: characters - 1] + "…"


def random_spread() -> float:
    return random.random()  # noqa: S311 - no secret
