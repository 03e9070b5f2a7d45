"""When a slot that becomes free wakes the dispatcher: only where that can lead to a claim."""

from typing import Any

import structlog
from conftest import make_executor

from src.consumers import Claimed
from src.decision import Counts
from src.dispatcher import LOOK_SECONDS, MOMENT_SECONDS, Dispatcher
from src.handlers.declare import Handler
from src.held import Held
from src.lease import Lease
from src.store.attempts import Attempt, Fence


class Source:
    """A consumer that has something when told so."""

    seconds = 60.0

    def seconds_until_ready(self) -> float:
        return self.seconds

    def claim(self, slots: int, *, take_suspect: bool) -> list[Claimed]:
        raise AssertionError("nobody is to claim here")


def dispatching(source: Source, *, room: int) -> Dispatcher:
    """Make one that has looked at how long to wait when there was so much room."""
    executor: Any = make_executor(Handler("work", lambda *_: None), concurrency=1)
    executor.room = lambda: room
    lease: Any = Lease(15)
    lease.is_fresh = lambda: True
    dispatcher = Dispatcher(executor, Held(), lease, lambda _deliveries: None)
    # The look has to find out by itself.
    dispatcher._consumers, dispatcher._wants_room = [source], room > 0
    dispatcher._seconds_to_wait()
    return dispatcher


def test_a_freed_slot_wakes_it_for_what_is_there_and_for_nothing_else() -> None:
    source = Source()
    dispatcher = dispatching(source, room=1)

    dispatcher.slot_freed()
    assert not dispatcher._woken.is_set()

    source.seconds = 0.0
    dispatcher.slot_freed()
    assert dispatcher._woken.is_set()


def test_a_freed_slot_wakes_it_if_there_was_no_room_before() -> None:
    dispatcher = dispatching(Source(), room=0)

    dispatcher.slot_freed()

    assert dispatcher._woken.is_set()


def test_the_slots_go_first_unless_there_is_more_to_claim() -> None:
    source, waits = Source(), list[float]()
    dispatcher = dispatching(source, room=1)
    woken: Any = dispatcher._woken
    woken.wait = waits.append
    attempt = Attempt(Fence("t", 1), "work", "t", "d", None, Counts(0, 0))

    dispatcher._wait()
    assert waits == [LOOK_SECONDS]

    dispatcher._executor.start(Claimed(attempt))
    source.seconds = 0.0
    dispatcher._wait()
    assert waits == [LOOK_SECONDS, 0]
    assert dispatcher._executor.claim_log.has_untold()

    source.seconds = 60.0
    dispatcher._wait()
    assert waits == [LOOK_SECONDS, 0, MOMENT_SECONDS, LOOK_SECONDS]
    assert not dispatcher._executor.claim_log.has_untold()


def test_claims_are_logged_however_much_there_is_to_claim() -> None:
    class Flood(Source):
        seconds, turns = 0.0, 0

        def claim(self, slots: int, *, take_suspect: bool) -> list[Claimed]:
            self.turns += 1
            if self.turns == 3:
                dispatcher._stop.set()
            attempt = Attempt(Fence(f"{self.turns}", 1), "work", "t", "d", None, Counts(0, 0))
            return [Claimed(attempt)] if self.turns < 3 else []

    dispatcher = dispatching(Flood(), room=1)
    with structlog.testing.capture_logs() as lines:
        dispatcher._run()

    assert [line["task_id"] for line in lines if line["event"] == "claimed"] == ["1", "2"]
