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
        watched: Callable[[], Iterable[Execution]],
        look_after: Callable[[Execution], None],
    ) -> None:
        self._watched = watched
        self._look_after = look_after
        self._alarm = threading.Condition()
        #: Until when it sleeps. While it looks around, anything new is sooner.
        self._alarm_at = math.inf

    def start(self) -> None:
        threading.Thread(target=self._watch, name="limits", daemon=True).start()

    def notice(self, execution: Execution) -> None:
        """Take a new ``look_at`` into account, of an execution that is watched already."""
        if execution.look_at < self._alarm_at:
            with self._alarm:
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
        with self._alarm:
            # First: what is added from here on is told of, and so waits for the lock.
            self._alarm_at = math.inf
            now = time.monotonic()
            watched = list(self._watched())
            due = [execution for execution in watched if execution.look_at <= now]
            if not due:
                nearest = min((execution.look_at for execution in watched), default=math.inf)
                self._alarm_at = min(nearest, now + LOOK_SECONDS)
                self._alarm.wait(self._alarm_at - now)
            return due
