"""Runs handlers in a fixed number of slots, and ends their attempts in time."""

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import structlog

from src.consumers import Claimed
from src.handlers.context import Context
from src.handlers.declare import Handler
from src.outcome import Failure, Outcome, Progress, Stopped, TimedOut, describe
from src.running import Finished, Run, Stage
from src.store.attempts import Fence
from src.store.leases import Load

log = structlog.get_logger(__name__)

#: How many times its patience passes until an abandoned thread is lost for good.
LOST_AFTER = 4
#: Seconds after which the limits are looked through without being woken.
LOOK_SECONDS = 60.0


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
        self._work: queue.SimpleQueue[Run] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._alarm = threading.Condition(self._lock)
        self._alarm_at = math.inf
        #: What occupies the slots, and the threads that are in none any more.
        self._running: dict[Fence, Run] = {}
        self._abandoned: set[Run] = set()
        self._processed = self._failed = 0

    def start_threads(self) -> None:
        for _ in range(self._concurrency):
            _start_thread("handler", self._serve)
        _start_thread("limits", self._watch)

    def free_slots(self) -> int:
        return self._concurrency - len(self._running)

    def load(self) -> Load:
        return Load(len(self._running), self._processed, self._failed)

    def start(self, claimed: Claimed) -> None:
        """Give a claimed attempt to a free slot. Its time begins now."""
        run = self._prepare(claimed)
        with self._lock:
            self._running[claimed.attempt.fence] = run
            if run.look_at < self._alarm_at:
                self._alarm.notify()
        self._work.put(run)

    def tell(self, fence: Fence, outcome: Outcome) -> bool:
        """Decide a running attempt's outcome and tell its handler to stop.

        Returns False, and does nothing, where the handler was faster.
        """
        with self._lock:
            run = self._running.get(fence)
            if run is None or run.stage is not Stage.RUNNING:
                return False
            self._enter(run, Stage.TOLD, self._patience_seconds)
            self._count(outcome)
        self._finished(run.finished(outcome))
        run.context.cancelled.set()
        return True

    def tell_all(self, outcome: Outcome) -> None:
        with self._lock:
            fences = list(self._running)
        for fence in fences:
            self.tell(fence, outcome)

    def _prepare(self, claimed: Claimed) -> Run:
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
        return Run(claimed, handler, context, limit, look_at=ends_at)

    def _pass_on(self, fence: Fence, progress: Progress) -> None:
        """Report progress, unless the outcome is decided."""
        run = self._running.get(fence)
        if run and run.stage is Stage.RUNNING:
            self._report(fence, progress)

    def _enter(self, run: Run, stage: Stage, seconds: float) -> None:
        """Move a run on, under the lock, and look after it again in so many seconds."""
        run.stage = stage
        run.look_at = time.monotonic() + seconds
        self._alarm.notify()

    def _count(self, outcome: Outcome) -> None:
        self._processed += 1
        self._failed += isinstance(outcome, Failure | TimedOut)

    # --- the threads of the slots ---

    def _serve(self) -> None:
        """Run what comes, until an attempt took so long that the slot was given to another."""
        while True:
            run = self._work.get()
            run.thread_id = threading.get_ident()
            outcome = self._run(run)
            with self._lock:
                wanted = run.stage is Stage.RUNNING
                if wanted:
                    self._count(outcome)
                mine = self._running.pop(run.fence, None) is run
                self._abandoned.discard(run)
            if wanted:
                if isinstance(outcome, Failure):
                    log.warning("handler failed", exception=outcome.traceback, **run.names())
                self._finished(run.finished(outcome))
            else:
                log.info("handler stopped, its outcome was decided before", **run.names())
            if not mine:
                return
            self._slot_freed()

    def _run(self, run: Run) -> Outcome:
        if run.stage is not Stage.RUNNING:
            # Told before it began: it must not begin.
            return Stopped()
        log.info("started", **run.names())
        try:
            return self._run_handler(run.handler, run.claimed.attempt.details, run.context)
        except BaseException as error:
            log.exception("handler could not be run", **run.names())
            return Failure(f"the handler could not be run: {describe(error)}")

    # --- the thread that watches the limits ---

    def _watch(self) -> None:
        while True:
            with self._lock:
                due = [run for run in self._watched() if run.look_at <= time.monotonic()]
                if not due:
                    now = time.monotonic()
                    nearest = min((run.look_at for run in self._watched()), default=math.inf)
                    self._alarm_at = min(nearest, now + LOOK_SECONDS)
                    self._alarm.wait(max(0.0, self._alarm_at - now))
                    continue
            for run in due:
                try:
                    self._look_after(run)
                except Exception:
                    log.exception("limits stumbled", **run.names())
                    run.look_at = time.monotonic() + 1

    def _watched(self) -> Iterator[Run]:
        yield from self._running.values()
        yield from (run for run in self._abandoned if run.stage is not Stage.LOST)

    def _look_after(self, run: Run) -> None:
        match run.stage:
            case Stage.RUNNING:
                if self.tell(run.fence, TimedOut(run.limit_seconds, run.where())):
                    log.warning("time limit reached", seconds=run.limit_seconds, **run.names())
            case Stage.TOLD:
                # Where no thread can be had the slot stays occupied; it is tried again.
                run.look_at = time.monotonic() + 1
                _start_thread("handler", partial(self._take_over, run))
            case Stage.ABANDONED:
                self._give_up(run)

    def _take_over(self, run: Run) -> None:
        """Serve the slot of a thread that does not come back, unless it just did."""
        with self._lock:
            if run.fence not in self._running:
                return
            del self._running[run.fence]
            self._abandoned.add(run)
            self._enter(run, Stage.ABANDONED, LOST_AFTER * self._patience_seconds)
        log.error("thread abandoned, its handler does not stop", **run.names())
        self._slot_freed()
        self._serve()

    def _give_up(self, run: Run) -> None:
        with self._lock:
            run.stage = Stage.LOST
            lost = sum(other.stage is Stage.LOST for other in self._abandoned)
        log.error("thread lost, its handler does not stop", lost=lost, **run.names())
        if 2 * lost >= self._concurrency:
            self._worn_out()


def _start_thread(name: str, target: Callable[[], None]) -> None:
    threading.Thread(target=target, name=name, daemon=True).start()
