"""Runs handlers in a fixed number of slots, and ends their attempts in time."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import structlog

from src.consumers import Claimed
from src.execution import Execution, Finished, Stage
from src.handlers.context import Context
from src.handlers.declare import Handler
from src.limits import Limits
from src.outcome import Failure, Outcome, Progress, Stopped, TimedOut, describe
from src.store.attempts import Fence
from src.store.leases import Load

log = structlog.get_logger(__name__)

#: How many times its patience passes until an abandoned thread is lost for good.
LOST_AFTER = 4


class Executor:
    """``concurrency`` slots, each a thread.

    A handler is told to stop at its limit, on a cancel request, or when its attempt is no longer
    ours. Then the outcome is decided, and it has ``patience_seconds`` to come back; after that
    its thread is abandoned and the slot gets a new one. A thread cannot be killed, and an
    exception thrown into it may hit code that holds a lock. Four times as long after that it is
    lost, and when that is so for half of the slots, ``worn_out`` is called: memory, connections
    and locks that those threads hold come back with a new process only.
    """

    def __init__(
        self,
        concurrency: int,
        handlers: Mapping[str, Handler],
        run: Callable[[Handler, Any, Context], Outcome],
        *,
        limit_seconds: float,
        patience_seconds: float,
        finished: Callable[[Finished], None],
        slot_freed: Callable[[], None],
        report: Callable[[Fence, Progress], None],
        worn_out: Callable[[], None],
    ) -> None:
        self._concurrency = concurrency
        self._handlers = handlers
        self._run_handler = run
        self._limit_seconds = limit_seconds
        self._patience_seconds = patience_seconds
        self._finished = finished
        self._slot_freed = slot_freed
        self._report = report
        self._worn_out = worn_out
        self._work: queue.SimpleQueue[Execution] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._limits = Limits(self._lock, self._watched, self._look_after)
        #: What occupies the slots, and the threads that are in none any more.
        self._running: dict[Fence, Execution] = {}
        self._abandoned: set[Execution] = set()
        self._processed = self._failed = 0

    def start_threads(self) -> None:
        for _ in range(self._concurrency):
            _start_thread("handler", self._serve)
        self._limits.start()

    def free_slots(self) -> int:
        return self._concurrency - len(self._running)

    def load(self) -> Load:
        return Load(len(self._running), self._processed, self._failed)

    def start(self, claimed: Claimed) -> None:
        """Give a claimed attempt to a free slot. Its time begins now."""
        execution = self._prepare(claimed)
        with self._lock:
            self._running[claimed.attempt.fence] = execution
            self._limits.notice(execution)
        self._work.put(execution)

    def tell(self, fence: Fence, outcome: Outcome) -> bool:
        """Decide a running attempt's outcome and tell its handler to stop.

        Returns False, and does nothing, where the handler was faster.
        """
        with self._lock:
            execution = self._running.get(fence)
            if execution is None or execution.stage is not Stage.RUNNING:
                return False
            self._enter(execution, Stage.TOLD, self._patience_seconds)
            self._count(outcome)
        self._finished(execution.finished(outcome))
        execution.context.cancelled.set()
        return True

    def tell_all(self, outcome: Outcome) -> None:
        with self._lock:
            fences = list(self._running)
        for fence in fences:
            self.tell(fence, outcome)

    def _prepare(self, claimed: Claimed) -> Execution:
        attempt = claimed.attempt
        handler = self._handlers[attempt.type]
        limit = attempt.timeout_seconds or handler.timeout_seconds or self._limit_seconds
        ends_at = time.monotonic() + limit
        context = Context(
            task_id=attempt.fence.task_id,
            attempt=attempt.fence.number,
            type=attempt.type,
            title=attempt.title,
            description=attempt.description,
            ends_at=ends_at,
            report=lambda progress: self._pass_on(attempt.fence, progress),
        )
        return Execution(claimed, handler, context, limit, look_at=ends_at)

    def _pass_on(self, fence: Fence, progress: Progress) -> None:
        """Report progress, unless the outcome is decided."""
        execution = self._running.get(fence)
        if execution and execution.stage is Stage.RUNNING:
            self._report(fence, progress)

    def _enter(self, execution: Execution, stage: Stage, seconds: float) -> None:
        """Move an execution on, under the lock, and look after it again in so many seconds."""
        execution.stage = stage
        execution.look_at = time.monotonic() + seconds
        self._limits.notice(execution)

    def _count(self, outcome: Outcome) -> None:
        self._processed += 1
        self._failed += isinstance(outcome, Failure | TimedOut)

    def _serve(self) -> None:
        """Run what comes, until an attempt took so long that the slot was given to another."""
        while True:
            execution = self._work.get()
            execution.thread_id = threading.get_ident()
            outcome = self._execute(execution)
            with self._lock:
                wanted = execution.stage is Stage.RUNNING
                if wanted:
                    self._count(outcome)
                mine = self._running.pop(execution.fence, None) is execution
                self._abandoned.discard(execution)
            if wanted:
                if isinstance(outcome, Failure):
                    log.warning("handler failed", exception=outcome.traceback, **execution.names())
                self._finished(execution.finished(outcome))
            else:
                log.info("handler stopped, its outcome was decided before", **execution.names())
            if not mine:
                return
            self._slot_freed()

    def _execute(self, execution: Execution) -> Outcome:
        if execution.stage is not Stage.RUNNING:
            # Told before it began: it must not begin.
            return Stopped()
        log.info("started", **execution.names())
        try:
            return self._run_handler(
                execution.handler, execution.claimed.attempt.details, execution.context
            )
        except BaseException as error:
            log.exception("handler could not be run", **execution.names())
            return Failure(f"the handler could not be run: {describe(error)}")

    def _watched(self) -> Iterator[Execution]:
        yield from self._running.values()
        yield from (lost for lost in self._abandoned if lost.stage is not Stage.LOST)

    def _look_after(self, execution: Execution) -> None:
        match execution.stage:
            case Stage.RUNNING:
                if self.tell(execution.fence, TimedOut(execution.limit_seconds, execution.where())):
                    log.warning(
                        "time limit reached", seconds=execution.limit_seconds, **execution.names()
                    )
            case Stage.TOLD:
                # Where no thread can be had the slot stays occupied; it is tried again.
                execution.look_at = time.monotonic() + 1
                _start_thread("handler", partial(self._take_over, execution))
            case Stage.ABANDONED:
                self._give_up(execution)

    def _take_over(self, execution: Execution) -> None:
        """Serve the slot of a thread that does not come back, unless it just did."""
        with self._lock:
            if execution.fence not in self._running:
                return
            del self._running[execution.fence]
            self._abandoned.add(execution)
            self._enter(execution, Stage.ABANDONED, LOST_AFTER * self._patience_seconds)
        log.error("thread abandoned, its handler does not stop", **execution.names())
        self._slot_freed()
        self._serve()

    def _give_up(self, execution: Execution) -> None:
        with self._lock:
            execution.stage = Stage.LOST
            lost = sum(other.stage is Stage.LOST for other in self._abandoned)
        log.error("thread lost, its handler does not stop", lost=lost, **execution.names())
        if 2 * lost >= self._concurrency:
            self._worn_out()


def _start_thread(name: str, target: Callable[[], None]) -> None:
    threading.Thread(target=target, name=name, daemon=True).start()
