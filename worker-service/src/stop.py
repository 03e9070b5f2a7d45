"""The requests to stop that come from outside, as SIGTERM or SIGINT."""

import queue
import signal


class StopRequests:
    """Counts signals for the main thread.

    A queue and no Event: the handler runs inside whatever main was doing, and a lock that main
    holds at that moment would be waited for in vain.
    """

    def __init__(self) -> None:
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: self._signals.put(number))

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the next request, for ever or for so long; tell whether it came."""
        try:
            self._signals.get(timeout=seconds)
        except queue.Empty:
            return False
        return True
