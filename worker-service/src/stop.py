"""The requests to stop: SIGTERM or SIGINT from outside, or the worker's own."""

import queue
import signal

#: Seconds between two looks for a signal that woke another thread. Mostly the main thread is woken,
#: but the kernel may choose any, and Python's handlers run in the main thread alone.
LOOK_SECONDS = 1.0


class StopRequests:
    """Collects requests for the main thread.

    A queue and no Event: the handler runs inside whatever main was doing, and a lock that main
    holds at that moment would be waited for in vain.
    """

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._signals = 0

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: self._requests.put(number))

    def ask(self) -> None:
        """Request a stop from inside, from any thread."""
        self._requests.put(0)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the next request, for ever or for so long; tell whether it came."""
        if seconds is None:
            while not self.wait(LOOK_SECONDS):
                pass
            return True
        try:
            self._signals += self._requests.get(timeout=seconds) != 0
        except queue.Empty:
            return False
        return True

    def is_urgent(self) -> bool:
        """Tell whether a second signal has come."""
        while self.wait(0):
            pass
        return self._signals > 1
