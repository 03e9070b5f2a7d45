"""The decision as a table of cases."""

import pytest

from src.contract import Status
from src.decision import (
    Counts,
    Decision,
    Failure,
    Outcome,
    RetryPolicy,
    Stopped,
    Success,
    WorkerLost,
    clip,
    decide,
    heed_cancel,
    release,
)

POLICY = RetryPolicy(max_attempts=3, base_seconds=2, max_seconds=60)


@pytest.mark.parametrize(
    ("outcome", "counts", "status", "ledger", "more_errors", "more_crashes"),
    [
        (Success({"n": 1}), Counts(0, 0), "COMPLETED", None, 0, 0),
        (Success(), Counts(2, 2), "COMPLETED", None, 0, 0),
        (Failure("boo"), Counts(0, 0), "PENDING", "error", 1, 0),
        (Failure("boo"), Counts(1, 0), "PENDING", "error", 1, 0),
        (Failure("boo"), Counts(2, 0), "FAILED", "error", 1, 0),
        (Failure("boo"), Counts(0, 2), "PENDING", "error", 1, 0),
        (Failure("boo"), Counts(0, 0, max_attempts=1), "FAILED", "error", 1, 0),
        (Failure("boo"), Counts(4, 0, max_attempts=6), "PENDING", "error", 1, 0),
        (Stopped(), Counts(0, 0), "CANCELLED", "cancelled", 0, 0),
        (WorkerLost("w"), Counts(2, 0), "PENDING", "worker_lost", 0, 1),
        (WorkerLost("w"), Counts(0, 1), "PENDING", "worker_lost", 0, 1),
        (WorkerLost("w"), Counts(0, 2), "FAILED", "worker_lost", 0, 1),
    ],
)
def test_the_outcome_decides_what_becomes_of_the_task(
    outcome: Outcome,
    counts: Counts,
    status: str,
    ledger: str | None,
    more_errors: int,
    more_crashes: int,
) -> None:
    decision = decide(outcome, counts, POLICY, spread=0)

    assert decision.status == status
    assert decision.ledger == ledger
    assert (decision.more_errors, decision.more_crashes) == (more_errors, more_crashes)


@pytest.mark.parametrize(
    ("errors", "spread", "seconds"),
    [(1, 0, 2), (2, 0, 4), (3, 0, 8), (6, 0, 60), (1, 1, 1), (3, 0.5, 6), (5000, 0, 60)],
)
def test_the_backoff_doubles_up_to_the_cap_and_is_spread(
    errors: int, spread: float, seconds: float
) -> None:
    assert POLICY.backoff(errors, spread) == seconds


def test_what_is_given_back_counts_in_nothing() -> None:
    given_back = release("stop")

    assert (given_back.status, given_back.ledger) == (Status.PENDING, "released")
    assert (given_back.more_errors, given_back.more_crashes) == (0, 0)


def test_only_a_retry_waits() -> None:
    assert decide(Failure("boo"), Counts(1, 0), POLICY, 0).delay_seconds == 4
    assert release("stop").delay_seconds is None
    assert decide(WorkerLost("w"), Counts(1, 0), POLICY, 0).delay_seconds is None


@pytest.mark.parametrize(
    "decision",
    [
        decide(Failure("boo"), Counts(0, 0), POLICY, 0),
        decide(Failure("boo"), Counts(2, 0), POLICY, 0),
        release("stop"),
        decide(WorkerLost("w"), Counts(0, 0), POLICY, 0),
        decide(Stopped(), Counts(0, 0), POLICY, 0),
    ],
)
def test_after_a_cancel_request_whatever_is_no_success_is_cancelled(decision: Decision) -> None:
    heeded = heed_cancel(decision)

    assert (heeded.status, heeded.ledger) == (Status.CANCELLED, "cancelled")
    assert heeded.error == decision.error


def test_a_success_stays_one_after_a_cancel_request() -> None:
    success = decide(Success(5), Counts(0, 0), POLICY, 0)

    assert heed_cancel(success) == success


def test_errors_are_cut_to_what_the_columns_keep() -> None:
    decision = decide(Failure("é" * 9_000, "x" * 99_000), Counts(0, 0), POLICY, 0)

    assert decision.error is not None
    assert decision.traceback is not None
    assert len(decision.error.encode()) < 65_535
    assert len(decision.traceback.encode()) < 65_535
    assert clip("nul\x00 and \ud800", 100) == "nul\ufffd and ?"
