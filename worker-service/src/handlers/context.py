"""The attempt as its handler sees it."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import structlog

from src.handlers.errors import Cancelled
from src.outcome import Progress, clip

#: Characters of the column ``tasks.progress_note``.
NOTE_CHARACTERS = 255
#: Where an attempt's event is kept, once there is one.
_CANCELLED = "_cancelled"


class Cancellation(threading.Event):
    """Set when the handler should stop. Also calls those who cannot wait for an event."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._action: Callable[[], object] | None = None

    def set(self) -> None:
        with self._lock:
            was_set = self.is_set()
            super().set()
            if self._action and not was_set:
                self._action()

    @contextmanager
    def calling(self, action: Callable[[], object]) -> Iterator[None]:
        """Have ``action`` called at the moment it is set, or now if it is. Never after the end."""
        with self._lock:
            self._action = action
            if self.is_set():
                action()
        try:
            yield
        finally:
            with self._lock:
                self._action = None


@dataclass
class Context:
    """What a handler may know and say while it runs; good for this attempt only.

    ``cancelled`` is set on a cancel request and at the time limit. By then the outcome is
    decided: what the handler still returns or raises is dropped.
    """

    task_id: str
    attempt: int
    type: str
    title: str
    description: str
    #: When the attempt's time is over, in seconds of ``time.monotonic``.
    ends_at: float = math.inf
    report: Callable[[Progress], None] = lambda _progress: None
    #: What ``progress`` was told last.
    latest: Progress | None = None

    @property
    def cancelled(self) -> Cancellation:
        """Is set when the handler should stop. Made only once it is asked for: few are."""
        # In one step: the handler and whoever tells it to stop get the same.
        event: Cancellation = self.__dict__.get(_CANCELLED) or self.__dict__.setdefault(
            _CANCELLED, Cancellation()
        )
        return event

    @cached_property
    def log(self) -> Any:
        """Writes events that carry ``task_id`` and ``attempt``."""
        log = structlog.get_logger(f"handler.{self.type}")
        return log.bind(task_id=self.task_id, attempt=self.attempt)

    def progress(self, percent: float, note: str | None = None) -> None:
        """Tell how far the work is: 0 to 100, and perhaps a line (255 characters) for people.

        Costs nothing to call often: the latest one is written, at most twice a second.
        """
        whole = round(min(max(percent, 0), 100)) if math.isfinite(percent) else 0
        self.latest = Progress(whole, None if note is None else clip(str(note), NOTE_CHARACTERS))
        self.report(self.latest)

    def remaining_seconds(self) -> float:
        """Return the time left until the limit, 0 after it."""
        return max(0.0, self.ends_at - time.monotonic())

    def raise_if_cancelled(self) -> None:
        """Leave the handler if it was told to stop.

        Raises:
            Cancelled: let it pass through.
        """
        if _CANCELLED in self.__dict__ and self.cancelled.is_set():
            raise Cancelled
