"""Runs handlers in a fixed number of slots, and ends their attempts in time."""

import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog

from src.claim_log import ClaimLog
from src.consumers import Claimed
from src.execution import Execution, Finished, Stage
from src.handlers.context import Context
from src.handlers.declare import Handler
from src.outcome import Failure, Outcome, Progress, Released, TimedOut, describe
from src.overruns import Overruns
from src.room import Room
from src.store.attempts import Fence
from src.store.leases import Load
from src.tally import Tally

log = structlog.get_logger(__name__)

#: Seconds that a claimed attempt may wait for a slot; then others are to have it.
WAIT_SECONDS = 1.0


class Executor:
    """``concurrency`` slots, each a thread. All of them take from one queue of claimed attempts.

    Where attempts are short some more are claimed than slots are free, so that claims and
    outcomes go through the database in large batches. One that gets no slot soon after all, or
    that must not begin when its turn comes, is given back.

    A handler is told to stop at its limit, on a cancel request, or when its attempt is no longer
    ours. Then the outcome is decided, and what its thread does after that is seen to by
    ``Overruns``.

    No lock is shared by the slots. An execution stands in at least one of the dicts until its
    thread comes back, single steps of dicts are atomic, and what becomes of it its stage decides.
    """

    def __init__(
        self,
        concurrency: int,
        handlers: Mapping[str, Handler],
        run: Callable[[Handler, Any, Context], Outcome],
        *,
        limit_seconds: float,
        patience_seconds: float,
        may_start: Callable[[], bool],
        finished: Callable[[Finished], None],
        finished_alone: Callable[[Finished], None],
        slot_freed: Callable[[], None],
        report: Callable[[Fence, Progress], None],
        worn_out: Callable[[], None],
    ) -> None:
        """``may_start`` is asked right before a handler starts; ``finished_alone`` is called, in
        the handler's thread, instead of ``finished`` where nothing else is here; and
        ``slot_freed`` when there may be room for more."""
        self._concurrency = concurrency
        self._handlers = handlers
        self._run_handler = run
        self._limit_seconds = limit_seconds
        self._may_start = may_start
        self._finished = finished
        self._finished_alone = finished_alone
        self._slot_freed = slot_freed
        self._report = report
        self._work: queue.SimpleQueue[Execution] = queue.SimpleQueue()
        #: What waits for a slot, and what occupies one.
        self._waiting: dict[Fence, Execution] = {}
        self._running: dict[Fence, Execution] = {}
        self._overruns = Overruns(
            concurrency,
            patience_seconds,
            in_slots=lambda: [*list(self._waiting.values()), *list(self._running.values())],
            release=self._release_late,
            tell=lambda execution, outcome: self.tell(execution.fence, outcome),
            replace=lambda execution: _start_thread("handler", partial(self._take_over, execution)),
            worn_out=worn_out,
        )
        self._processed, self._failed = Tally(), Tally()
        self._room = Room(concurrency, self._waiting, self._running)
        #: Of what was started; the dispatcher has it told once the slots have begun.
        self.claim_log = ClaimLog()

    def start_threads(self) -> None:
        for _ in range(self._concurrency):
            _start_thread("handler", self._serve)
        self._overruns.start()

    def free_slots(self) -> int:
        """Count the slots that nothing runs in or waits for; below 0, so many wait beyond that."""
        return self._room.free_slots()

    def room(self) -> int:
        """Return how many attempts may be claimed now, for free slots and ahead of them."""
        return self._room.look()

    def load(self) -> Load:
        return Load(len(self._running), self._processed.total(), self._failed.total())

    def start(self, *claimed: Claimed) -> None:
        """Give claimed attempts to the slots. The time of each begins when one of them takes it."""
        executions = [self._prepare(one) for one in claimed]
        if not executions:
            return
        for execution in executions:
            self._waiting[execution.fence] = execution
        # They are to be looked after at the same time.
        self._overruns.notice(executions[0])
        for execution in executions:
            self._work.put(execution)
        self.claim_log.note(executions)

    def tell(self, fence: Fence, outcome: Outcome) -> bool:
        """Decide an attempt's outcome; its handler is told to stop, or does not begin.

        Returns False, and does nothing, where the handler was faster.
        """
        execution = self._waiting.get(fence) or self._running.get(fence)
        before = execution and execution.move(Stage.TOLD, Stage.WAITING, Stage.RUNNING)
        if not execution or not before:
            return False
        if before is Stage.WAITING:
            self._waiting.pop(fence, None)
        else:
            self._count(outcome)
            self._overruns.expect_back(execution)
        self._finished(execution.finished(outcome))
        execution.context.cancelled.set()
        return True

    def tell_all(self, outcome: Outcome) -> None:
        for fence in [*list(self._waiting), *list(self._running)]:
            self.tell(fence, outcome)

    def release_waiting(self, reason: str) -> None:
        """Give back what has not begun."""
        for execution in list(self._waiting.values()):
            self._release(execution, reason)

    def _prepare(self, claimed: Claimed) -> Execution:
        attempt = claimed.attempt
        handler = self._handlers[attempt.type]
        limit = attempt.timeout_seconds or handler.timeout_seconds or self._limit_seconds
        context = Context(
            task_id=attempt.fence.task_id,
            attempt=attempt.fence.number,
            type=attempt.type,
            title=attempt.title,
            description=attempt.description,
            report=lambda progress: self._pass_on(attempt.fence, progress),
        )
        return Execution(claimed, handler, context, limit, look_at=time.monotonic() + WAIT_SECONDS)

    def _pass_on(self, fence: Fence, progress: Progress) -> None:
        """Report progress, unless the outcome is decided."""
        execution = self._running.get(fence)
        if execution and execution.stage is Stage.RUNNING:
            self._report(fence, progress)

    def _count(self, outcome: Outcome) -> None:
        self._processed.add()
        if isinstance(outcome, (Failure, TimedOut)):
            self._failed.add()

    def _serve(self) -> None:
        """Run what comes, until an attempt took so long that the slot was given to another."""
        while True:
            execution = self._work.get()
            if not self._begin(execution):
                self._slot_freed()
                continue
            outcome = self._execute(execution)
            self._room.note(time.monotonic() - execution.began_at)
            before = execution.move(
                Stage.RETURNED, Stage.RUNNING, Stage.TOLD, Stage.ABANDONED, Stage.LOST
            )
            if before is Stage.RUNNING:
                self._count(outcome)
            is_alone = before is Stage.RUNNING and not self._waiting and len(self._running) == 1
            if is_alone:
                # In its slot still, which is not free before this has come back.
                execution.look_at = math.inf
                self._end(execution, outcome, self._finished_alone)
            mine = self._running.pop(execution.fence, None) is execution
            self._overruns.came_back(execution)
            if before is not Stage.RUNNING:
                log.info("handler stopped, its outcome was decided before", **execution.names())
            elif not is_alone:
                self._end(execution, outcome, self._finished)
            if not mine:
                return
            if self._room.has_few():
                self._slot_freed()

    def _end(
        self, execution: Execution, outcome: Outcome, finished: Callable[[Finished], None]
    ) -> None:
        if isinstance(outcome, Failure):
            log.warning("handler failed", exception=outcome.traceback, **execution.names())
        finished(execution.finished(outcome))

    def _begin(self, execution: Execution) -> bool:
        """Take an attempt into this thread's slot, unless it must not begin any more."""
        if not self._may_start():
            self._release(execution, "its worker must not begin anything now")
            return False
        if not execution.begin():
            return False
        self._running[execution.fence] = execution
        self._waiting.pop(execution.fence, None)
        self._overruns.notice(execution)
        return True

    def _release(self, execution: Execution, reason: str) -> bool:
        """Give back an attempt, unless it has begun."""
        if not execution.move(Stage.TOLD, Stage.WAITING):
            return False
        self._waiting.pop(execution.fence, None)
        self._finished(execution.finished(Released(reason)))
        return True

    def _release_late(self, execution: Execution) -> None:
        if self._release(execution, "no slot became free for it"):
            log.info("given back, all slots are busy", **execution.names())

    def _execute(self, execution: Execution) -> Outcome:
        try:
            return self._run_handler(
                execution.handler, execution.claimed.attempt.details, execution.context
            )
        except BaseException as error:
            log.exception("handler could not be run", **execution.names())
            return Failure(f"the handler could not be run: {describe(error)}")

    def _take_over(self, execution: Execution) -> None:
        """Serve the slot of a thread that does not come back, unless it just did."""
        # Whoever of the two takes it out has the slot.
        if self._running.pop(execution.fence, None) is None:
            return
        self._overruns.abandon(execution)
        self._slot_freed()
        self._serve()


def _start_thread(name: str, target: Callable[[], None]) -> None:
    threading.Thread(target=target, name=name, daemon=True).start()
