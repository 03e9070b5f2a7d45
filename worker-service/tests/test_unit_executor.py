"""Slots: who runs, who is told to stop, and whose thread is given up."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import make_executor

from src.consumers import Claimed, Delivery
from src.decision import Counts
from src.execution import Finished
from src.executor import Executor
from src.handlers.context import Context
from src.handlers.declare import Handler
from src.outcome import Failure, Progress, Released, Stopped, Success, TimedOut
from src.store.attempts import Attempt, Fence
from src.store.leases import Load


class Slots:
    """An executor with threads, and what it told."""

    def __init__(self, function: Callable[[Any, Context], Any], **options: Any) -> None:
        self.finished: queue.Queue[Finished] = queue.Queue()
        self.freed: queue.Queue[None] = queue.Queue()
        self.worn_out = threading.Event()
        self.executor: Executor = make_executor(
            Handler("work", function, timeout_seconds=options.pop("type_limit", None)),
            finished=self.finished.put,
            slot_freed=lambda: self.freed.put(None),
            worn_out=self.worn_out.set,
            **options,
        )
        self.executor.start_threads()

    def start(self, name: str = "t", limit: int | None = None) -> Fence:
        fence = Fence(name, 1)
        attempt = Attempt(fence, "work", "t", "d", {"n": 1}, Counts(0, 0), limit)
        self.executor.start(Claimed(attempt, Delivery(name, 1, 1, 4)))
        return fence

    def next(self) -> Finished:
        return self.finished.get(timeout=10)


class Stubborn:
    """A handler that heeds nothing until the test lets it go."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.contexts: queue.Queue[Context] = queue.Queue()

    def __call__(self, _payload: Any, context: Context) -> str:
        self.contexts.put(context)
        assert self.release.wait(30)
        return "late"


@pytest.fixture
def stubborn() -> Any:
    handler = Stubborn()
    yield handler
    handler.release.set()


def test_an_outcome_comes_with_its_delivery_and_last_progress() -> None:
    def work(payload: Any, context: Context) -> Any:
        context.progress(40, "on it")
        return payload

    slots = Slots(work)
    slots.start()

    done = slots.next()
    assert (done.outcome, done.progress) == (Success({"n": 1}), Progress(40, "on it"))
    assert done.delivery
    assert done.delivery.task_id == "t"
    slots.freed.get(timeout=5)
    assert slots.executor.free_slots() == 2


def test_only_what_ends_alone_is_finished_in_its_own_thread() -> None:
    gate, threads = threading.Event(), dict[str, int]()
    alone: queue.Queue[tuple[Finished, int]] = queue.Queue()

    def work(_payload: Any, context: Context) -> None:
        threads[context.task_id] = threading.get_ident()
        assert context.task_id == "short" or gate.wait(30)

    slots = Slots(work, finished_alone=lambda f: alone.put((f, threading.get_ident())))
    slots.start("long")
    slots.start("short")
    assert slots.next().attempt.fence.task_id == "short"

    gate.set()

    done, thread = alone.get(timeout=10)
    assert (done.attempt.fence.task_id, thread) == ("long", threads["long"])


def test_the_slot_of_what_ends_alone_is_free_after_its_commit() -> None:
    committing, committed = threading.Event(), threading.Event()

    def commit(_finished: Finished) -> None:
        committing.set()
        assert committed.wait(30)

    slots = Slots(lambda *_: None, finished_alone=commit)
    slots.start()
    assert committing.wait(10)
    assert slots.executor.free_slots() == 1
    assert slots.freed.empty()

    committed.set()

    slots.freed.get(timeout=10)
    assert slots.executor.free_slots() == 2


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        ({"limit": 7, "type_limit": 5.0, "limit_seconds": 3}, 7),
        ({"type_limit": 5.0, "limit_seconds": 3}, 5),
        ({"limit_seconds": 3}, 3),
    ],
)
def test_the_tasks_own_limit_goes_before_its_types_and_that_before_the_workers(
    limits: dict[str, Any], seconds: float
) -> None:
    remaining: list[float] = []
    own = limits.pop("limit", None)
    slots = Slots(lambda _payload, context: remaining.append(context.remaining_seconds()), **limits)

    slots.start(limit=own)

    slots.next()
    assert seconds - 1 < remaining[0] <= seconds


def test_at_the_limit_the_outcome_is_a_timeout_and_says_where_the_handler_stood(
    stubborn: Stubborn,
) -> None:
    slots = Slots(stubborn, limit_seconds=0.1)

    slots.start()

    outcome = slots.next().outcome
    assert isinstance(outcome, TimedOut)
    assert outcome.limit_seconds == 0.1
    assert "self.release.wait(30)" in outcome.traceback
    assert stubborn.contexts.get(timeout=5).cancelled.wait(5)


def test_the_nearest_limit_is_kept_whatever_was_started_before(stubborn: Stubborn) -> None:
    slots = Slots(stubborn)
    slots.start("long")
    stubborn.contexts.get(timeout=5)

    slots.start("short", limit=1)

    assert slots.next().attempt.fence.task_id == "short"


def test_what_a_handler_still_returns_after_it_was_told_is_dropped(stubborn: Stubborn) -> None:
    slots = Slots(stubborn)
    fence = slots.start()
    context = stubborn.contexts.get(timeout=5)

    slots.executor.tell(fence, Stopped())
    slots.executor.tell(fence, TimedOut(1))
    assert slots.next().outcome == Stopped()
    assert context.cancelled.is_set()
    assert slots.executor.free_slots() == 1
    stubborn.release.set()

    slots.freed.get(timeout=5)
    assert slots.finished.empty()
    assert slots.executor.load() == Load(busy=0, processed=1, failed=0)


def test_a_handler_that_was_faster_keeps_its_outcome() -> None:
    slots = Slots(lambda *_: "done")
    fence = slots.start()
    slots.freed.get(timeout=5)

    slots.executor.tell(fence, Stopped())

    assert slots.next().outcome == Success("done")
    assert slots.finished.empty()


def test_all_can_be_told_at_once(stubborn: Stubborn) -> None:
    slots = Slots(stubborn)
    for name in ("a", "b"):
        slots.start(name)

    slots.executor.tell_all(Released("the lease is lost"))

    assert {slots.next().outcome for _ in range(2)} == {Released("the lease is lost")}


def test_the_slot_of_a_thread_that_does_not_stop_is_given_to_a_new_one(stubborn: Stubborn) -> None:
    slots = Slots(stubborn, concurrency=3, patience_seconds=0.1)
    fence = slots.start()
    stubborn.contexts.get(timeout=5)

    slots.executor.tell(fence, Stopped())
    slots.next()
    slots.freed.get(timeout=5)
    assert slots.executor.free_slots() == 3
    assert not slots.worn_out.is_set()
    # All three slots work, the new one among them.
    for name in "abc":
        slots.start(name)
    for _ in "abc":
        stubborn.contexts.get(timeout=5)
    stubborn.release.set()

    assert {slots.next().attempt.fence.task_id for _ in "abc"} == set("abc")
    assert slots.finished.empty()


def lose(slots: Slots, stubborn: Stubborn, name: str) -> Fence:
    """Start an attempt that does not stop when told, and wait until its thread is abandoned."""
    fence = slots.start(name)
    stubborn.contexts.get(timeout=5)
    slots.executor.tell(fence, Stopped())
    slots.freed.get(timeout=5)
    return fence


def test_the_process_is_worn_out_when_half_of_the_slots_are_lost(stubborn: Stubborn) -> None:
    slots = Slots(stubborn, concurrency=4, patience_seconds=0.1)

    lose(slots, stubborn, "a")
    assert not slots.worn_out.wait(1)
    lose(slots, stubborn, "b")

    assert slots.worn_out.wait(5)


def test_a_thread_that_comes_back_late_is_not_lost(stubborn: Stubborn) -> None:
    slots = Slots(stubborn, concurrency=2, patience_seconds=0.3)
    lose(slots, stubborn, "a")

    # Abandoned for 0.3 s, lost after 1.2 more.
    stubborn.release.set()

    assert not slots.worn_out.wait(2)


def test_a_thread_that_comes_back_late_has_no_slot_any_more(stubborn: Stubborn) -> None:
    before = set(threading.enumerate())
    slots = Slots(stubborn, concurrency=1, patience_seconds=0.1)
    [late] = [t for t in set(threading.enumerate()) - before if t.name == "handler"]
    lose(slots, stubborn, "a")

    stubborn.release.set()

    late.join(10)
    assert not late.is_alive()


def test_what_is_told_before_it_began_does_not_begin() -> None:
    ran: list[Any] = []
    executor = make_executor(
        Handler("work", lambda payload, _context: ran.append(payload)),
        finished=(finished := queue.Queue[Finished]()).put,
        slot_freed=(freed := threading.Event()).set,
    )
    attempt = Attempt(Fence("t", 1), "work", "t", "d", None, Counts(0, 0))
    executor.start(Claimed(attempt))
    executor.tell(attempt.fence, Stopped())

    executor.start_threads()

    assert freed.wait(5)
    assert ran == []
    assert finished.get(timeout=5).outcome == Stopped()
    assert finished.empty()


def test_a_slot_survives_whatever_cannot_be_run() -> None:
    def broken(*_: Any) -> Any:
        raise MemoryError

    slots = Slots(lambda *_: None, run=broken, concurrency=1)

    for name in "ab":
        slots.start(name)
        outcome = slots.next().outcome
        assert isinstance(outcome, Failure)
        assert outcome.error == "the handler could not be run: MemoryError"


def test_what_failed_and_what_took_too_long_is_counted(stubborn: Stubborn) -> None:
    def work(_payload: Any, context: Context) -> None:
        if context.task_id == "fails":
            raise ValueError
        if context.task_id == "late":
            stubborn(None, context)

    slots = Slots(work)
    for name, limit in [("good", None), ("fails", None), ("late", 1)]:
        slots.start(name, limit)
        slots.next()

    load = slots.executor.load()
    assert (load.busy, load.processed, load.failed) == (1, 3, 2)


def test_simulated_work_stops_when_told_to() -> None:
    executor = make_executor(finished=(finished := queue.Queue[Finished]()).put)
    executor.start_threads()
    details = {"simulate": {"seconds": 60}}
    attempt = Attempt(Fence("t", 1), "simulate", "t", "d", details, Counts(0, 0))
    executor.start(Claimed(attempt))

    executor.tell(attempt.fence, Stopped())

    assert finished.get(timeout=5).outcome == Stopped()
    deadline = time.monotonic() + 5
    while executor.free_slots() < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
