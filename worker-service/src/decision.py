"""What becomes of a task after an attempt. Pure: values in, a value out."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from src.contract import Status
from src.outcome import (
    ERROR_CHARACTERS,
    TRACEBACK_CHARACTERS,
    Failure,
    Outcome,
    ProcessLost,
    Released,
    Stopped,
    Success,
    TimedOut,
    clip,
)

#: Lost workers or processes under one task after which it is not given to another.
MAX_CRASHES = 3


@dataclass(frozen=True)
class RetryPolicy:
    """How often a task may fail and how long to wait in between.

    ``steps``: seconds after the first, second, … error, the last one again for all that follow.
    Empty: doubled from ``base_seconds`` with each error.
    """

    max_attempts: int
    base_seconds: float
    max_seconds: float
    steps: Sequence[float] = ()

    def backoff(self, errors: int, spread: float) -> float:
        """Return the seconds to wait after that many errors.

        ``spread`` in 0..1 takes off up to half of it, so that tasks which failed together do not
        come back together.
        """
        if self.steps:
            seconds = self.steps[min(errors, len(self.steps)) - 1]
        else:
            seconds = min(self.base_seconds * 2.0 ** min(errors - 1, 60), self.max_seconds)
        return seconds * (1 - spread / 2)


class Counts(NamedTuple):
    """What a task has behind it, as its row says."""

    errors: int
    crashes: int
    max_attempts: int | None = None


class Decision(NamedTuple):
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
    #: The task has a callback_url: its end is written together with a webhook.
    wants_webhook: bool = False


def decide(outcome: Outcome, counts: Counts, policy: RetryPolicy, spread: float) -> Decision:
    """Return what the attempt's outcome does to its task."""
    match outcome:
        case Success(result):
            return Decision(Status.COMPLETED, result=result)
        case Failure():
            return _failed(outcome, counts, policy, spread)
        case TimedOut(seconds, traceback):
            late = Failure(f"timeout: the attempt took longer than {seconds:g} s", traceback)
            return _failed(late, counts, policy, spread, ledger="timeout")
        case Stopped():
            return Decision(Status.CANCELLED, ledger="cancelled", error="cancelled on request")
        case Released(reason, delay):
            return release(reason, delay)
        case ProcessLost(how):
            backoff = policy.backoff(counts.crashes + 1, spread)
            return _crashed(f"the handler's process {how}", counts, backoff)


def _failed(
    failure: Failure, counts: Counts, policy: RetryPolicy, spread: float, ledger: str = "error"
) -> Decision:
    errors = counts.errors + 1
    limit = counts.max_attempts or policy.max_attempts
    again = errors < limit and not failure.permanent
    delay = failure.retry_after_seconds
    if delay is None:
        delay = policy.backoff(errors, spread)
    return Decision(
        Status.PENDING if again else Status.FAILED,
        ledger=ledger,
        error=clip(failure.error, ERROR_CHARACTERS),
        traceback=clip(failure.traceback, TRACEBACK_CHARACTERS) or None,
        more_errors=1,
        delay_seconds=delay if again else None,
    )


def _crashed(how: str, counts: Counts, delay_seconds: float | None = None) -> Decision:
    crashes = counts.crashes + 1
    again = crashes < MAX_CRASHES
    error = f"worker_lost: {how}"
    if not again:
        error += f"; the task was lost {crashes} times like this, it is not run again"
    return Decision(
        Status.PENDING if again else Status.FAILED,
        ledger="worker_lost",
        error=clip(error, ERROR_CHARACTERS),
        more_crashes=1,
        delay_seconds=delay_seconds if again else None,
    )


def release(reason: str, delay_seconds: float | None = None) -> Decision:
    """Return what giving an attempt back unfinished does: nothing is counted against the task."""
    return Decision(Status.PENDING, ledger="released", error=reason, delay_seconds=delay_seconds)


def lose(worker_id: str, counts: Counts) -> Decision:
    """Return what becomes of a task whose worker stopped giving signs of life."""
    return _crashed(f"worker {worker_id} gave no sign of life", counts)


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


def random_spread() -> float:
    return random.random()  # noqa: S311 - no secret
