"""An attempt in the executor: from its claim until its thread comes back."""

import math
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

from src.consumers import Claimed, Delivery
from src.handlers.context import Context
from src.handlers.declare import Handler
from src.outcome import Outcome, Progress
from src.store.attempts import Attempt, Fence


class Finished(NamedTuple):
    """An attempt's outcome on its way to the database, and the delivery to ack after it."""

    attempt: Attempt
    outcome: Outcome
    delivery: Delivery | None
    progress: Progress | None = None
    #: How long the handler ran.
    seconds: float = 0.0


class Stage(Enum):
    """Every way ends in RETURNED, but that of a thread which never comes back."""

    #: Claimed, for a slot that is free or soon will be. Nothing of it has begun.
    WAITING = auto()
    RUNNING = auto()
    #: The outcome is decided, the handler was told to stop, and what it still does is dropped.
    TOLD = auto()
    #: It did not stop in time: its slot was given to another thread.
    ABANDONED = auto()
    #: It has not stopped since, and nobody expects it to.
    LOST = auto()
    #: Its thread is done with it.
    RETURNED = auto()


@dataclass(eq=False)
class Execution:
    """An attempt that waits for a slot or is in one, until its thread comes back.

    Its slot's thread and those that decide about it meet here, and only here: with one lock for
    all executions, a thread that is suspended while it holds the lock would stop every slot, and
    they would go on changing threads with each attempt.
    """

    claimed: Claimed
    handler: Handler
    context: Context
    limit_seconds: float
    #: When to look after it, in seconds of ``time.monotonic``.
    look_at: float
    stage: Stage = Stage.WAITING
    thread_id: int | None = None
    began_at: float = math.inf
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def fence(self) -> Fence:
        return self.claimed.attempt.fence

    def begin(self) -> bool:
        """Have the calling thread run it, and begin its time; False where it must not any more."""
        with self._lock:
            if self.stage is not Stage.WAITING:
                return False
            self.thread_id = threading.get_ident()
            self.began_at = time.monotonic()
            self.look_at = self.context.ends_at = self.began_at + self.limit_seconds
            # Last: who sees it run must not take the end of its waiting for that of its time.
            self.stage = Stage.RUNNING
            return True

    def move(self, to: Stage, *expected: Stage) -> Stage | None:
        """Go on to a stage from one of these; return which, or None where it was in another."""
        with self._lock:
            if self.stage not in expected:
                return None
            before, self.stage = self.stage, to
            return before

    def names(self) -> dict[str, Any]:
        """Return what an event in the log calls it."""
        return {
            "task_id": self.fence.task_id,
            "attempt": self.fence.number,
            "type": self.handler.name,
        }

    def finished(self, outcome: Outcome) -> Finished:
        attempt, delivery = self.claimed.attempt, self.claimed.delivery
        seconds = max(0.0, time.monotonic() - self.began_at)
        return Finished(attempt, outcome, delivery, self.context.latest, seconds)

    def where(self) -> str:
        """Return where the handler's thread stands, as a traceback."""
        if self.handler.process:
            return ""
        frame = sys._current_frames().get(self.thread_id or 0)
        return "".join(traceback.format_stack(frame)) if frame else ""
