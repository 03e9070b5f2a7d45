"""Wakes up when an execution has to be looked after: at its limit, or when it should be over."""

import math
import threading
import time
from collections.abc import Callable, Iterable

import structlog

from src.execution import Execution

log = structlog.get_logger(__name__)

#: Seconds after which it looks around without being woken.
LOOK_SECONDS = 60.0


class Limits:
    """One thread, asleep until the nearest ``look_at`` of what is watched."""

    def __init__(
        self,
        lock: threading.Lock,
        watched: Callable[[], Iterable[Execution]],
        look_after: Callable[[Execution], None],
    ) -> None:
        """``watched`` is called under the lock, ``look_after`` without it."""
        self._lock = lock
        self._watched = watched
        self._look_after = look_after
        self._alarm = threading.Condition(lock)
        self._alarm_at = math.inf

    def start(self) -> None:
        threading.Thread(target=self._watch, name="limits", daemon=True).start()

    def notice(self, execution: Execution) -> None:
        """Take a new ``look_at`` into account; to be called under the lock."""
        if execution.look_at < self._alarm_at:
            self._alarm.notify()

    def _watch(self) -> None:
        while True:
            for execution in self._wait_for_due():
                try:
                    self._look_after(execution)
                except Exception:
                    log.exception("limits stumbled", **execution.names())
                    execution.look_at = time.monotonic() + 1

    def _wait_for_due(self) -> list[Execution]:
        """Sleep until something is due or has changed; return what is due."""
        with self._lock:
            now = time.monotonic()
            due = [execution for execution in self._watched() if execution.look_at <= now]
            if not due:
                nearest = min((e.look_at for e in self._watched()), default=math.inf)
                self._alarm_at = min(nearest, now + LOOK_SECONDS)
                self._alarm.wait(self._alarm_at - now)
            return due
