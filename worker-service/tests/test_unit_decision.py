"""The decision as a table of cases."""

import pytest

from src.contract import Status
from src.decision import (
    Counts,
    Decision,
    RetryPolicy,
    decide,
    heed_cancel,
    lose,
    release,
)
from src.outcome import (
    Failure,
    Outcome,
    ProcessLost,
    Released,
    Stopped,
    Success,
    TimedOut,
    clip,
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
        (Failure("boo", permanent=True), Counts(0, 0), "FAILED", "error", 1, 0),
        (Failure("boo", retry_after_seconds=9), Counts(0, 0), "PENDING", "error", 1, 0),
        (Failure("boo", retry_after_seconds=9), Counts(2, 0), "FAILED", "error", 1, 0),
        (TimedOut(30), Counts(0, 0), "PENDING", "timeout", 1, 0),
        (TimedOut(30), Counts(2, 0), "FAILED", "timeout", 1, 0),
        (TimedOut(30), Counts(0, 2), "PENDING", "timeout", 1, 0),
        (TimedOut(30), Counts(0, 0, max_attempts=1), "FAILED", "timeout", 1, 0),
        (Stopped(), Counts(0, 0), "CANCELLED", "cancelled", 0, 0),
        (Released("stop"), Counts(2, 2), "PENDING", "released", 0, 0),
        (ProcessLost("was killed by SIGSEGV"), Counts(2, 0), "PENDING", "worker_lost", 0, 1),
        (ProcessLost("was killed by SIGSEGV"), Counts(0, 1), "PENDING", "worker_lost", 0, 1),
        (ProcessLost("was killed by SIGSEGV"), Counts(0, 2), "FAILED", "worker_lost", 0, 1),
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
    ("crashes", "status"), [(0, Status.PENDING), (1, Status.PENDING), (2, Status.FAILED)]
)
def test_the_third_lost_worker_ends_the_task_whatever_its_errors(
    crashes: int, status: Status
) -> None:
    lost = lose("w", Counts(errors=2, crashes=crashes))

    assert (lost.status, lost.ledger) == (status, "worker_lost")
    assert (lost.more_errors, lost.more_crashes) == (0, 1)
    assert (lost.error or "").startswith("worker_lost: worker w gave no sign of life")


@pytest.mark.parametrize(
    ("errors", "spread", "seconds"),
    [(1, 0, 2), (2, 0, 4), (3, 0, 8), (6, 0, 60), (1, 1, 1), (3, 0.5, 6), (5000, 0, 60)],
)
def test_the_backoff_doubles_up_to_the_cap_and_is_spread(
    errors: int, spread: float, seconds: float
) -> None:
    assert POLICY.backoff(errors, spread) == seconds


@pytest.mark.parametrize(
    ("errors", "spread", "seconds"),
    [(1, 0, 1), (2, 0, 10), (3, 0, 60), (4, 0, 60), (900, 0, 60), (2, 1, 5)],
)
def test_a_handlers_own_backoff_goes_step_by_step_and_then_stays(
    errors: int, spread: float, seconds: float
) -> None:
    policy = RetryPolicy(max_attempts=3, base_seconds=2, max_seconds=30, steps=(1, 10, 60))

    assert policy.backoff(errors, spread) == seconds


def test_what_is_given_back_counts_in_nothing() -> None:
    given_back = release("stop")

    assert (given_back.status, given_back.ledger) == (Status.PENDING, "released")
    assert (given_back.more_errors, given_back.more_crashes) == (0, 0)


def test_only_a_retry_waits() -> None:
    assert decide(Failure("boo"), Counts(1, 0), POLICY, 0).delay_seconds == 4
    assert decide(TimedOut(30), Counts(1, 0), POLICY, 0).delay_seconds == 4
    assert decide(ProcessLost("died"), Counts(5, 1), POLICY, 0).delay_seconds == 4
    assert release("stop").delay_seconds is None
    assert lose("w", Counts(1, 0)).delay_seconds is None
    assert decide(Failure("boo"), Counts(2, 0), POLICY, 0).delay_seconds is None


def test_a_handler_that_names_its_delay_gets_it_as_it_is() -> None:
    later = Failure("busy", retry_after_seconds=900)

    assert decide(later, Counts(0, 0), POLICY, spread=1).delay_seconds == 900
    now = Failure("busy", retry_after_seconds=0)
    assert decide(now, Counts(0, 0), POLICY, spread=1).delay_seconds == 0


def test_an_error_says_what_happened() -> None:
    assert decide(TimedOut(30), Counts(0, 0), POLICY, 0).error == (
        "timeout: the attempt took longer than 30 s"
    )
    lost = decide(ProcessLost("was killed by SIGKILL"), Counts(0, 2), POLICY, 0)
    assert lost.error == (
        "worker_lost: the handler's process was killed by SIGKILL; "
        "the task was lost 3 times like this, it is not run again"
    )


@pytest.mark.parametrize(
    "decision",
    [
        decide(Failure("boo"), Counts(0, 0), POLICY, 0),
        decide(Failure("boo"), Counts(2, 0), POLICY, 0),
        decide(TimedOut(1), Counts(0, 0), POLICY, 0),
        decide(ProcessLost("died"), Counts(0, 0), POLICY, 0),
        release("stop"),
        lose("w", Counts(0, 0)),
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
