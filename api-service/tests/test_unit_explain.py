"""Why a task is not finished: facts in, reason out."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from src.services.explain import MAX_AHEAD, Facts, Reason, explain

NOW = datetime.fromisoformat("2026-01-23T04:17:34")
SECOND = timedelta(seconds=1)


def facts(
    task: dict[str, Any] | None = None,
    *,
    worker: dict[str, Any] | None = None,
    last: dict[str, Any] | None = None,
    promised_at: datetime | None = None,
    ahead: int = 0,
) -> Facts:
    """Return the facts of a due task with a live worker, in which the arguments replace some."""
    row = {
        "status": "PENDING",
        "type": "simulate",
        "run_at": NOW - 5 * SECOND,
        "attempt": 0,
        "errors": 0,
        "crashes": 0,
        "max_attempts": None,
        "worker_id": None,
        "started_at": None,
        "completed_at": None,
        "cancel_requested": False,
        "progress": None,
        "error": None,
        **(task or {}),
    }
    live = {
        "id": "w1",
        "types": ["simulate"],
        "beat_at": NOW - 2 * SECOND,
        "lease_seconds": 15,
        "max_attempts": 4,
    }
    workers: Any = [{**live, **(worker or {})}]
    return Facts(row, NOW, promised_at, last, workers, None, ahead)  # type: ignore[arg-type]


def told(**given: Any) -> Reason:
    return explain(facts(**given), "connected")


RUNS = {"status": "PROCESSING", "attempt": 2, "worker_id": "w1", "started_at": NOW - 9 * SECOND}
ERROR = {"attempt": 2, "outcome": "error", "error": "ValueError: no", "finished_at": NOW}
LOST = {
    **ERROR,
    "outcome": "worker_lost",
    "error": "worker_lost: worker w0 gave no sign of life",
    "worker_id": "w0",
}
LATER = {"run_at": NOW + 30 * SECOND}


@pytest.mark.parametrize(
    ("code", "words", "given"),
    [
        ("scheduled", "due at 2026-01-23T04:18:04Z", {"task": LATER}),
        (
            "retry_scheduled",
            "Attempt 2 failed (ValueError: no). Error 2 of 3; it is tried again at 2026-01-23",
            {"task": {**LATER, "attempt": 2, "errors": 2, "max_attempts": 3}, "last": ERROR},
        ),
        (
            "retry_scheduled",
            "Error 2 of 4",
            {"task": {**LATER, "attempt": 2, "errors": 2}, "last": ERROR},
        ),
        (
            "retry_scheduled",
            "Attempt 2 did not end (worker_lost",
            {"task": {**LATER, "attempt": 2}, "last": LOST},
        ),
        # The ledger's entry is of an attempt before the retry request.
        ("scheduled", "It is due", {"task": {**LATER, "attempt": 3}, "last": ERROR}),
        ("queued", "free slot of 1 worker; 12 of its priority", {"ahead": 12}),
        ("queued", "10,000 or more of its priority", {"ahead": MAX_AHEAD}),
        ("no_worker", "No live worker serves the type 'mail'", {"task": {"type": "mail"}}),
        ("no_worker", "start one", {"worker": {"beat_at": NOW - 16 * SECOND}}),
        (
            "rescued",
            "Attempt 2 was lost (worker_lost",
            {"task": {"attempt": 2, "crashes": 1}, "last": LOST},
        ),
        # The client has asked for another go since.
        ("queued", "free slot", {"task": {"attempt": 2}, "last": LOST}),
        (
            "waiting_for_broker",
            "waiting for the broker (connected) since 2026-01-23T04:17:31Z",
            {"promised_at": NOW - 3 * SECOND},
        ),
        # Its message is on its way.
        ("queued", "free slot", {"promised_at": NOW - SECOND / 2}),
        ("running", "Attempt 2 on worker w1 since 2026-01-23T04:17:25Z", {"task": RUNS}),
        ("running", "Progress: 40 %", {"task": {**RUNS, "progress": 40}}),
        ("cancelling", "to be cancelled", {"task": {**RUNS, "cancel_requested": True}}),
        (
            "worker_silent",
            "no sign of life for 16 s",
            {"task": RUNS, "worker": {"beat_at": NOW - 16 * SECOND}},
        ),
        ("worker_gone", "that worker is gone", {"task": RUNS, "worker": {"id": "w2"}}),
        ("completed", "COMPLETED since", {"task": {"status": "COMPLETED", "completed_at": NOW}}),
        (
            "failed",
            "(ValueError: no). POST …/retry",
            {"task": {"status": "FAILED", "completed_at": NOW, "error": "ValueError: no"}},
        ),
        ("cancelled", "retry", {"task": {"status": "CANCELLED", "completed_at": NOW}}),
    ],
)
def test_a_task_is_explained_by_a_code_and_in_words(
    code: str, words: str, given: dict[str, Any]
) -> None:
    reason = told(**given)

    assert reason.code == code
    assert words in reason.detail


def test_the_numbers_in_the_words_are_told_as_facts() -> None:
    assert told(ahead=12).facts == {"since": NOW - 5 * SECOND, "ahead": 12, "workers": 1}
    assert told(task=RUNS).facts["heartbeat_age_seconds"] == 2.0
    assert told(promised_at=NOW - 3 * SECOND).facts["broker"] == "connected"
