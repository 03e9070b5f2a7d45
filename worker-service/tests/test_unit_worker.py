"""The parts of the worker that need no server."""

import signal
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from conftest import POLICY
from sqlalchemy.exc import DataError, OperationalError

from src.config import SettingsError, load_settings
from src.consumers import Delivery
from src.consumers.inbox import Inbox
from src.contract import Status
from src.decision import Counts, Decision
from src.execution import Finished
from src.finisher import Finisher
from src.handlers.simulate import Plan
from src.outcome import Progress, Success
from src.rescue import DeathWatch
from src.stop import StopRequests
from src.store.attempts import Attempt, Fence

# --- who is dead ----------------------------------------------------------------------------------


def observe(watch: DeathWatch, *sweeps: tuple[float, dict[str, int]]) -> list[dict[str, int]]:
    return [watch.observe(beats, at) for at, beats in sweeps]


def test_a_beat_that_stands_still_for_a_lease_is_a_death() -> None:
    sweeps = [(float(at), {"a": 7}) for at in range(0, 16, 3)]

    seen = observe(DeathWatch(15), *sweeps)

    assert seen == [{}, {}, {}, {}, {}, {"a": 7}]


def test_a_beat_that_grows_is_life() -> None:
    sweeps = [(float(at), {"a": at // 6}) for at in range(0, 60, 3)]

    assert not any(observe(DeathWatch(15), *sweeps))


def test_a_late_sweep_begins_the_count_anew() -> None:
    seen = observe(
        DeathWatch(15), (0, {"a": 7}), (3, {"a": 7}), (18, {"a": 7}), (21, {"a": 7}), (24, {"a": 7})
    )

    assert not any(seen)


def test_a_failed_sweep_begins_the_count_anew() -> None:
    watch = DeathWatch(15)
    observe(watch, *[(float(at), {"a": 7}) for at in range(0, 13, 3)])

    watch.restart()

    assert watch.observe({"a": 7}, 15) == {}


def test_one_dead_among_the_living_is_told_apart() -> None:
    sweeps = [(float(at), {"dead": 1, "alive": at}) for at in range(0, 19, 3)]

    assert observe(DeathWatch(15), *sweeps)[-1] == {"dead": 1}


# --- the inbox ------------------------------------------------------------------------------------


def test_the_important_goes_first_and_then_the_earlier() -> None:
    inbox = Inbox()
    inbox.begin(1)
    inbox.put(Delivery(name, 1, 1, p) for name, p in [("a", 4), ("b", 8), ("c", 4), ("d", 1)])

    assert [delivery.task_id for delivery in inbox.take(3)] == ["b", "a", "c"]
    assert len(inbox) == 1


def test_what_another_channel_delivered_is_dropped() -> None:
    inbox = Inbox()
    inbox.begin(1)
    taken = Delivery("a", 1, 1, 4)
    inbox.put([taken, Delivery("b", 2, 1, 4)])

    inbox.begin(2)
    inbox.put([taken])

    assert inbox.take(9) == []


# --- simulated work -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("details", "plan"),
    [
        (None, Plan(2)),
        ({}, Plan(2)),
        ({"simulate": "fast"}, Plan(2)),
        ({"simulate": [1]}, Plan(2)),
        ({"simulate": {"seconds": 0.5}}, Plan(0.5)),
        ({"simulate": {"seconds": "long"}}, Plan(2)),
        ({"simulate": {"seconds": True}}, Plan(2)),
        ({"simulate": {"seconds": -5}}, Plan(0)),
        ({"simulate": {"seconds": 1e300}}, Plan(86_400)),
        ({"simulate": {"fail_attempts": 2, "error": "boo"}}, Plan(2, 2, "boo")),
        ({"simulate": {"fail_attempts": "2", "error": 5}}, Plan(2)),
    ],
)
def test_a_plan_of_unexpected_shape_is_plain_data(details: Any, plan: Plan) -> None:
    assert Plan.read(details, 2) == plan


# --- finishing ------------------------------------------------------------------------------------


class Journal:
    """A store and a channel that write down what was asked of them, in order."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.events: list[str] = []
        self.written: dict[Fence, Decision] = {}
        self.forgotten: set[Fence] = set()
        self.acked = threading.Event()

    def finish(
        self, decisions: Mapping[Fence, Decision], progress: Mapping[Fence, Progress]
    ) -> dict[Fence, Status]:
        assert set(progress) == set(decisions)
        failure = self.failures.pop(0) if self.failures else None
        if failure:
            self.events.append("failed")
            raise failure
        self.events.append("committed")
        self.written.update(decisions)
        return {fence: decision.status for fence, decision in decisions.items()}

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        self.events.append("acked")
        self.acked.set()


def finish(journal: Journal) -> list[str]:
    finisher = Finisher(
        journal,  # type: ignore[arg-type]
        {"simulate": POLICY},
        journal.ack,
        journal.forgotten.update,
    )
    finisher.start()
    attempt = Attempt(Fence("t", 1), "simulate", "t", "d", None, Counts(0, 0))
    finisher.put(Finished(attempt, Success(1), Delivery("t", 1, 1, 4), Progress(70, "nearly")))
    assert journal.acked.wait(10)
    return journal.events


def away() -> OperationalError:
    return OperationalError("UPDATE", {}, Exception(2013, "Lost connection"))


def test_a_delivery_is_acked_after_the_commit() -> None:
    assert finish(Journal()) == ["committed", "acked"]


def test_an_outcome_is_kept_while_the_database_is_away() -> None:
    journal = Journal(away(), away())

    assert finish(journal) == ["failed", "failed", "committed", "acked"]
    assert journal.written[Fence("t", 1)].status is Status.COMPLETED


@pytest.mark.parametrize("code", [1203, 1226, 1041, 1047, 3168, 1054, 2013])
def test_a_success_is_kept_whatever_is_wrong_with_the_database(code: int) -> None:
    journal = Journal(OperationalError("UPDATE", {}, Exception(code, "not now")))

    assert finish(journal) == ["failed", "committed", "acked"]
    assert journal.written[Fence("t", 1)].status is Status.COMPLETED


def test_what_has_queued_up_is_committed_at_once() -> None:
    journal = Journal()
    finisher = Finisher(
        journal,  # type: ignore[arg-type]
        {"simulate": POLICY},
        journal.ack,
        journal.forgotten.update,
    )
    for number in range(50):
        attempt = Attempt(Fence("t", number), "simulate", "t", "d", None, Counts(0, 0))
        finisher.put(Finished(attempt, Success(1), Delivery("t", number, 1, 4), Progress(1)))

    finisher.start()

    assert journal.acked.wait(5)
    assert journal.events == ["committed", "acked"]
    assert len(journal.written) == 50


@pytest.mark.parametrize(
    "refusal",
    [
        DataError("UPDATE", {}, Exception(1406, "Data too long")),
        # PyMySQL gives every code that it does not know this class.
        OperationalError("UPDATE", {}, Exception(3157, "The JSON document exceeds the depth")),
        OperationalError("UPDATE", {}, Exception(4025, "CONSTRAINT `tasks.result` failed")),
    ],
)
def test_an_outcome_that_cannot_be_written_is_written_as_an_error(refusal: Exception) -> None:
    journal = Journal(refusal)

    assert finish(journal) == ["failed", "committed", "acked"]
    assert "could not be stored" in (journal.written[Fence("t", 1)].error or "")


def test_an_outcome_is_kept_when_no_error_can_be_written_in_its_place_either() -> None:
    broken = DataError("UPDATE", {}, Exception(1406, "Data too long"))
    journal = Journal(broken, broken)

    assert finish(journal) == ["failed", "failed", "committed", "acked"]
    assert journal.written[Fence("t", 1)].status is Status.COMPLETED


def test_what_waits_for_the_database_can_be_written_by_another_way() -> None:
    stuck, other = Journal(*[away() for _ in range(99)]), Journal()
    finisher = Finisher(
        stuck,  # type: ignore[arg-type]
        {"simulate": POLICY},
        stuck.ack,
        stuck.forgotten.update,
    )
    finisher.start()
    attempt = Attempt(Fence("t", 1), "simulate", "t", "d", None, Counts(0, 0))
    finisher.put(Finished(attempt, Success(1), None, Progress(1)))

    finisher.flush(other)  # type: ignore[arg-type]
    finisher.flush(other)  # type: ignore[arg-type]

    assert other.written[attempt.fence].status is Status.COMPLETED
    assert other.events == ["committed"]
    assert stuck.forgotten == {attempt.fence}


def test_what_the_database_refuses_does_not_keep_the_rest_from_being_written() -> None:
    refusal = DataError("UPDATE", {}, Exception(1406, "Data too long"))
    # Of both together, then of the first alone.
    refusing = Journal(refusal, refusal)
    finisher = Finisher(
        refusing,  # type: ignore[arg-type]
        {"simulate": POLICY},
        refusing.ack,
        refusing.forgotten.update,
    )
    for number in (1, 2):
        attempt = Attempt(Fence("t", number), "simulate", "t", "d", None, Counts(0, 0))
        finisher.put(Finished(attempt, Success(1), None, Progress(1)))

    finisher.flush(refusing)  # type: ignore[arg-type]

    assert set(refusing.written) == {Fence("t", 2)}
    refusing.failures = [away()]
    with pytest.raises(OperationalError):
        finisher.flush(refusing)  # type: ignore[arg-type]


def alone(journal: Journal) -> tuple[Finisher, Finished]:
    finisher = Finisher(
        journal,  # type: ignore[arg-type]
        {"simulate": POLICY},
        journal.ack,
        journal.forgotten.update,
    )
    attempt = Attempt(Fence("t", 1), "simulate", "t", "d", None, Counts(0, 0))
    return finisher, Finished(attempt, Success(1), Delivery("t", 1, 1, 4), Progress(1))


def test_an_outcome_alone_is_committed_without_the_finishers_thread() -> None:
    journal = Journal()
    finisher, done = alone(journal)

    finisher.finish_here(done)

    assert journal.events == ["committed", "acked"]
    assert journal.forgotten == {done.attempt.fence}


def test_what_cannot_be_committed_at_once_is_left_to_the_thread() -> None:
    journal = Journal(away())
    finisher, done = alone(journal)

    finisher.finish_here(done)
    assert journal.events == ["failed"]

    finisher.start()
    assert journal.acked.wait(10)
    assert journal.events == ["failed", "committed", "acked"]


def test_where_others_wait_it_goes_with_them() -> None:
    journal = Journal()
    finisher, done = alone(journal)
    other = done._replace(attempt=done.attempt._replace(fence=Fence("other", 1)))

    finisher.put(other)
    finisher.finish_here(done)
    assert journal.events == []

    finisher.start()
    assert journal.acked.wait(10)
    assert journal.events == ["committed", "acked"]
    assert len(journal.written) == 2


def test_a_second_one_does_not_wait_for_the_first() -> None:
    journal = Journal()
    finisher, done = alone(journal)

    with finisher._here:
        finisher.finish_here(done)
        assert journal.events == []

        finisher.start()
        assert journal.acked.wait(10)
    assert journal.events == ["committed", "acked"]


# --- stopping -------------------------------------------------------------------------------------


def test_only_a_second_signal_is_urgent() -> None:
    stop = StopRequests()
    own_listener = signal.getsignal(signal.SIGTERM)
    try:
        stop.listen()
        stop.ask()
        assert stop.wait(1)
        assert not stop.is_urgent()
        signal.raise_signal(signal.SIGTERM)
        stop.ask()
        assert not stop.is_urgent()
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_urgent()
    finally:
        signal.signal(signal.SIGTERM, own_listener)
        signal.signal(signal.SIGINT, signal.default_int_handler)


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKER_CONCURRENCY", "0"),
        ("WORKER_CONCURRENCY", "many"),
        ("LEASE_SECONDS", "-1"),
        ("WORK_SECONDS", "nan"),
        ("MAX_ATTEMPTS", "0"),
        ("TASK_TIMEOUT_SECONDS", "0"),
        ("HANDLER_MODULES", "handlers/invoices.py"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_bad_setting_is_one_line_with_name_value_and_example(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    line = str(caught.value)
    assert line.startswith(f"{name}: ")
    assert f"'{value}'" in line
    assert f"for example {name}=" in line
    assert "\n" not in line


def test_the_prefetch_follows_the_concurrency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_CONCURRENCY", "5")
    assert load_settings().prefetch == 20

    monkeypatch.setenv("WORKER_PREFETCH", "7")
    assert load_settings().prefetch == 7


def test_handler_modules_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().handler_modules == ()

    monkeypatch.setenv("HANDLER_MODULES", "handlers.invoices, images,")
    assert load_settings().handler_modules == ("handlers.invoices", "images")
