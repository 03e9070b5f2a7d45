"""What is done about attempts that do not end by themselves, until their threads are given up."""

import time
from collections.abc import Callable, Iterable, Iterator

import structlog

from src.execution import Execution, Stage
from src.limits import Limits
from src.outcome import TimedOut

log = structlog.get_logger(__name__)

#: How many times its patience passes until an abandoned thread is lost for good.
LOST_AFTER = 4


class Overruns:
    """Steps in when it is time, and keeps the threads that are in no slot any more.

    A handler that was told to stop has ``patience_seconds`` to come back; after that its thread
    is abandoned and the slot gets a new one. A thread cannot be killed, and an exception thrown
    into it may hit code that holds a lock. Four times as long after that it is lost, and when
    that is so for half of the slots, ``worn_out`` is called: memory, connections and locks that
    those threads hold come back with a new process only.
    """

    def __init__(
        self,
        concurrency: int,
        patience_seconds: float,
        *,
        in_slots: Callable[[], Iterable[Execution]],
        release: Callable[[Execution], None],
        tell: Callable[[Execution, TimedOut], bool],
        replace: Callable[[Execution], None],
        worn_out: Callable[[], None],
    ) -> None:
        """``in_slots``: what waits for a slot or occupies one. ``release`` gives back what waits,
        ``tell`` decides what runs, and ``replace`` starts the thread that is to have its slot."""
        self._concurrency = concurrency
        self._patience_seconds = patience_seconds
        self._in_slots = in_slots
        self._release = release
        self._tell = tell
        self._replace = replace
        self._worn_out = worn_out
        self._limits = Limits(self._watched, self._look_after)
        self._abandoned: set[Execution] = set()

    def start(self) -> None:
        self._limits.start()

    def notice(self, execution: Execution) -> None:
        """Take a new ``look_at`` into account, of an execution that is in a slot or waits."""
        self._limits.notice(execution)

    def expect_back(self, execution: Execution) -> None:
        """Be patient with a handler that was told to stop."""
        self._look_again(execution, self._patience_seconds)

    def abandon(self, execution: Execution) -> None:
        """Take in an execution whose thread lost its slot, unless it just came back."""
        self._abandoned.add(execution)
        if execution.move(Stage.ABANDONED, Stage.TOLD):
            self._look_again(execution, LOST_AFTER * self._patience_seconds)
            log.error("thread abandoned, its handler does not stop", **execution.names())
        else:
            self._abandoned.discard(execution)

    def came_back(self, execution: Execution) -> None:
        self._abandoned.discard(execution)

    def _look_again(self, execution: Execution, seconds: float) -> None:
        execution.look_at = time.monotonic() + seconds
        self._limits.notice(execution)

    def _watched(self) -> Iterator[Execution]:
        yield from self._in_slots()
        yield from (lost for lost in list(self._abandoned) if lost.stage is not Stage.LOST)

    def _look_after(self, execution: Execution) -> None:
        stage = execution.stage
        if execution.look_at > time.monotonic():
            # It began just now.
            return
        match stage:
            case Stage.WAITING:
                self._release(execution)
            case Stage.RUNNING:
                if self._tell(execution, TimedOut(execution.limit_seconds, execution.where())):
                    log.warning(
                        "time limit reached", seconds=execution.limit_seconds, **execution.names()
                    )
            case Stage.TOLD:
                # Where no thread can be had the slot stays occupied; it is tried again.
                execution.look_at = time.monotonic() + 1
                self._replace(execution)
            case Stage.ABANDONED:
                self._give_up(execution)

    def _give_up(self, execution: Execution) -> None:
        if not execution.move(Stage.LOST, Stage.ABANDONED):
            return
        lost = sum(other.stage is Stage.LOST for other in list(self._abandoned))
        log.error("thread lost, its handler does not stop", lost=lost, **execution.names())
        if 2 * lost >= self._concurrency:
            self._worn_out()
