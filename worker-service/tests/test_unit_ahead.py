"""Claiming ahead: how much, for whom, and what never begins."""

import queue
import threading
import time
from typing import Any

import pytest
from conftest import make_executor

from src import executor as executor_module
from src.consumers import Claimed
from src.decision import Counts
from src.dispatcher import Dispatcher
from src.execution import Finished
from src.handlers.context import Context
from src.handlers.declare import Handler
from src.held import Held
from src.lease import Lease
from src.outcome import Outcome, Released, Stopped
from src.pace import MOST_AHEAD, Pace
from src.store.attempts import Attempt, Fence


def attempt(name: str, limit: int | None = None) -> Attempt:
    return Attempt(Fence(name, 1), "work", "t", "d", None, Counts(0, 0), limit)


class Slots:
    """An executor whose handler blocks in tasks called ``long…`` until it is let go."""

    def __init__(self, concurrency: int = 2, **options: Any) -> None:
        self.let_go = threading.Event()
        self.begun: queue.Queue[str] = queue.Queue()
        self.finished: queue.Queue[Finished] = queue.Queue()
        self.remaining: dict[str, float] = {}
        self.may_start = True
        self.executor = make_executor(
            Handler("work", self._work),
            concurrency=concurrency,
            may_start=lambda: self.may_start,
            finished=self.finished.put,
            **options,
        )
        self.executor.start_threads()

    def _work(self, _payload: Any, context: Context) -> None:
        self.remaining[context.task_id] = context.remaining_seconds()
        self.begun.put(context.task_id)
        if context.task_id.startswith("long"):
            assert self.let_go.wait(30)

    def start(self, *names: str, limit: int | None = None) -> None:
        for name in names:
            self.executor.start(Claimed(attempt(name, limit)))

    def occupy(self, count: int) -> None:
        self.start(*(f"long{number}" for number in range(count)))
        for _ in range(count):
            self.begun.get(timeout=5)

    def next(self) -> tuple[str, Outcome]:
        done = self.finished.get(timeout=5)
        return done.attempt.fence.task_id, done.outcome

    def run_short_ones(self, count: int) -> None:
        for number in range(count):
            self.start(f"short{number}")
            self.next()
            self.begun.get(timeout=5)
        deadline = time.monotonic() + 5
        while self.executor.load().busy and time.monotonic() < deadline:
            time.sleep(0.001)


@pytest.fixture
def slots() -> Any:
    slots = Slots()
    yield slots
    slots.let_go.set()


# --- how many -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "slots", "ahead"),
    [
        ([], 16, 0),
        ([0.01], 16, 80),
        ([0.05], 16, 16),
        ([0.051], 16, 0),
        ([10], 1000, 0),
        ([0.01], 0, 0),
        ([0], 16, MOST_AHEAD),
    ],
)
def test_as_many_are_claimed_ahead_as_can_begin_soon(
    seconds: list[float], slots: int, ahead: int
) -> None:
    pace = Pace()

    for took in seconds:
        pace.note(took)

    assert pace.ahead(slots) == ahead


def test_the_latest_attempts_count_most() -> None:
    pace = Pace()

    pace.note(0.001)
    for _ in range(5):
        pace.note(1)

    assert pace.ahead(16) == 0
    for _ in range(100):
        pace.note(0.001)
    assert pace.ahead(16) > 0


def test_nothing_is_claimed_ahead_before_an_attempt_has_ended(slots: Slots) -> None:
    assert slots.executor.room() == 2
    slots.occupy(2)

    assert slots.executor.room() == 0


def test_short_work_is_claimed_ahead(slots: Slots) -> None:
    slots.run_short_ones(20)

    assert slots.executor.room() > 2


def test_slots_with_long_work_are_not_counted_for_what_is_claimed_ahead(slots: Slots) -> None:
    slots.run_short_ones(20)
    slots.occupy(2)

    time.sleep(0.06)

    assert slots.executor.room() == 0


def test_enough_is_enough_while_the_slots_are_busy(slots: Slots) -> None:
    slots.run_short_ones(20)
    slots.occupy(2)

    slots.start(*map(str, range(MOST_AHEAD // 2 + 1)))

    assert slots.executor.room() == 0
    assert slots.executor.load().busy == 2


def test_beside_a_suspect_nothing_is_claimed_ahead() -> None:
    class Asked:
        slots: list[int] = []  # noqa: RUF012 - of this test

        def seconds_until_ready(self) -> float:
            return 0.0

        def claim(self, slots: int, *, take_suspect: bool) -> list[Claimed]:
            self.slots.append(slots)
            return []

    short, held, lease = Slots(), Held(), Lease(15)
    short.run_short_ones(20)
    lease.renew(time.monotonic())
    dispatcher = Dispatcher(short.executor, held, lease, lambda _deliveries: None)
    dispatcher._consumers = [Asked()]

    suspect = attempt("suspect")._replace(suspect=True)
    held.add([suspect])
    dispatcher._turn()
    held.let_go([suspect.fence])
    dispatcher._turn()

    beside, after = Asked.slots
    assert beside == 2
    assert after > 2


# --- what waits -----------------------------------------------------------------------------------


def test_what_waits_behind_long_work_is_given_back(
    slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_module, "WAIT_SECONDS", 0.1)
    slots.occupy(2)

    slots.start("trapped")

    assert slots.next() == ("trapped", Released("no slot became free for it"))
    slots.let_go.set()
    assert {slots.next()[0] for _ in range(2)} == {"long0", "long1"}
    assert slots.begun.empty()
    assert slots.finished.empty()


def test_one_long_handler_traps_nothing(slots: Slots) -> None:
    slots.occupy(1)

    slots.start(*"abcd")

    assert {slots.begun.get(timeout=5) for _ in "abcd"} == set("abcd")


def test_the_time_begins_with_the_handler(slots: Slots) -> None:
    slots.occupy(2)
    slots.start("late", limit=1)

    time.sleep(0.3)
    slots.let_go.set()

    assert slots.begun.get(timeout=5) == "late"
    assert slots.remaining["late"] > 0.8


def test_what_waits_while_its_worker_loses_the_right_to_act_does_not_begin(slots: Slots) -> None:
    slots.occupy(2)
    slots.start("waits")

    slots.may_start = False
    slots.let_go.set()

    outcomes = dict(slots.next() for _ in range(3))
    assert outcomes["waits"] == Released("its worker must not begin anything now")
    assert slots.begun.empty()


def test_what_waits_while_it_is_cancelled_does_not_begin(slots: Slots) -> None:
    slots.occupy(2)
    slots.start("waits")

    assert slots.executor.tell(Fence("waits", 1), Stopped())
    slots.let_go.set()

    assert slots.next() == ("waits", Stopped())
    assert {slots.next()[0] for _ in range(2)} == {"long0", "long1"}
    assert slots.begun.empty()


def test_what_begins_at_the_moment_of_its_release_is_not_given_back() -> None:
    finished: queue.Queue[Finished] = queue.Queue()
    executor = make_executor(Handler("work", lambda *_: None), finished=finished.put)
    executor.start(Claimed(attempt("t")))
    [execution] = executor._waiting.values()

    # As by the thread of a slot, which has taken it and not yet told the executor.
    assert execution.begin()
    executor.release_waiting("the worker stopped")

    assert finished.empty()


def test_at_a_stop_what_waits_is_given_back_and_what_runs_goes_on(slots: Slots) -> None:
    slots.occupy(2)
    slots.start(*"ab")

    slots.executor.release_waiting("the worker stopped")

    assert dict(slots.next() for _ in "ab") == dict.fromkeys("ab", Released("the worker stopped"))
    assert slots.finished.empty()
    slots.let_go.set()
    assert {slots.next()[0] for _ in range(2)} == {"long0", "long1"}
    assert slots.begun.empty()


def test_without_the_lease_nothing_is_to_begin() -> None:
    lease = Lease(15)
    dispatcher = Dispatcher(make_executor(), Held(), lease, lambda _deliveries: None)

    assert not dispatcher.may_act()
    lease.renew(time.monotonic())
    assert dispatcher.may_act()
    dispatcher._stop.set()
    assert not dispatcher.may_act()
