"""When a slot that becomes free wakes the dispatcher: only where that can lead to a claim."""

from collections.abc import Sequence
from typing import Any

from conftest import make_executor

from src.consumers import Claimed
from src.dispatcher import Dispatcher
from src.held import Held
from src.lease import Lease


class Source:
    """A consumer that has something when told so."""

    seconds = 60.0

    def seconds_until_ready(self) -> float:
        return self.seconds

    def claim(self, slots: int, *, take_suspect: bool) -> list[Claimed]:
        raise NotImplementedError


def dispatching(room: Sequence[int]) -> Dispatcher:
    """Make one whose executor says that it has so much room, one after the other."""
    executor: Any = make_executor(concurrency=1)
    left = list(room)
    executor.room = lambda: left.pop(0) if len(left) > 1 else left[0]
    return Dispatcher(executor, Held(), Lease(15), lambda _deliveries: None)


def test_a_freed_slot_wakes_it_for_what_is_there_and_for_nothing_else() -> None:
    source = Source()
    dispatcher = dispatching([1])
    dispatcher._consumers, dispatcher._wants_room = [source], False

    dispatcher.slot_freed()
    assert not dispatcher._woken.is_set()

    source.seconds = 0.0
    dispatcher.slot_freed()
    assert dispatcher._woken.is_set()


def test_a_freed_slot_wakes_it_if_there_was_no_room_before() -> None:
    source = Source()
    dispatcher = dispatching([0, 1])
    dispatcher._consumers = [source]

    dispatcher._seconds_to_wait()
    dispatcher.slot_freed()

    assert dispatcher._woken.is_set()
