"""A request to stop reaches the main thread, whichever thread the signal woke."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from src.stop import StopRequests


@pytest.fixture
def stop() -> Iterator[StopRequests]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    requests = StopRequests()
    requests.listen()
    yield requests
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_that_another_thread_takes_ends_the_wait(stop: StopRequests) -> None:
    other_may_end, gave_up = threading.Event(), threading.Event()
    # It takes signals: a thread has the mask of the one that starts it, as that was then.
    other = threading.Thread(target=other_may_end.wait)
    other.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def give_up() -> None:
        gave_up.set()
        stop.ask()

    alarm = threading.Timer(20, give_up)
    alarm.start()
    kill = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    kill.start()
    try:
        assert stop.wait()
        assert not gave_up.is_set()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        alarm.cancel()
        other_may_end.set()
        other.join()


def test_a_request_from_inside_is_not_urgent_and_two_signals_are(stop: StopRequests) -> None:
    stop.ask()
    assert stop.wait()
    assert not stop.is_urgent()

    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.wait()
    assert stop.is_urgent()
