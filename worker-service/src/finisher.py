"""Brings outcomes into the database, then acks. Keeps them while the database is away."""

import queue
import threading
import time
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import DBAPIError

from src.consumers import Delivery
from src.contract import Status
from src.decision import Failure, RetryPolicy, decide, random_spread
from src.executor import Executor, Finished
from src.store.dialect import is_passing
from src.store.tasks import TaskStore

log = structlog.get_logger(__name__)

#: Seconds between two goes at a database that is away: doubling from the first to the last.
FIRST_PAUSE_SECONDS = 0.2
LAST_PAUSE_SECONDS = 3.0
#: Outcomes in one transaction.
BATCH = 100


class Finisher:
    """One thread. What queues up while a commit runs shares the next one."""

    def __init__(
        self, store: TaskStore, policy: RetryPolicy, ack: Callable[[Sequence[Delivery]], None]
    ) -> None:
        self._store = store
        self._policy = policy
        self._ack = ack
        self._queue: queue.SimpleQueue[Finished] = queue.SimpleQueue()
        self._executor: Executor | None = None

    def start(self, executor: Executor) -> None:
        """Begin; ``executor`` is told of every outcome that is committed."""
        self._executor = executor
        threading.Thread(target=self._run, name="finisher", daemon=True).start()

    def put(self, finished: Finished) -> None:
        self._queue.put(finished)

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            self._finish(batch)

    def _finish(self, batch: Sequence[Finished]) -> None:
        """Commit the outcomes, whatever it takes, then ack their deliveries."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                self._commit(batch)
            except DBAPIError as error:
                if not is_passing(error):
                    return self._isolate(batch, error)
                log.warning(
                    "outcomes wait for the database", outcomes=len(batch), reason=str(error.orig)
                )
                time.sleep(pause)
                pause = min(pause * 2, LAST_PAUSE_SECONDS)
            except Exception as error:  # noqa: BLE001 - logged there, item by item
                return self._isolate(batch, error)
            else:
                return None

    def _commit(self, batch: Sequence[Finished]) -> None:
        decisions = {
            done.attempt.fence: decide(
                done.outcome, done.attempt.counts, self._policy, random_spread()
            )
            for done in batch
        }
        statuses = self._store.finish(decisions)
        for done in batch:
            fence = done.attempt.fence
            status = statuses.get(fence)
            log.info(
                "outcome refused, the task has moved on" if status is None else _EVENTS[status],
                task_id=fence.task_id,
                attempt=fence.number,
                **({"error": decisions[fence].error} if decisions[fence].error else {}),
            )
        self._let_go(batch)

    def _isolate(self, batch: Sequence[Finished], error: Exception) -> None:
        """Find the outcome that cannot be written, so that it holds up no other."""
        if len(batch) > 1:
            half = len(batch) // 2
            self._finish(batch[:half])
            self._finish(batch[half:])
            return
        done = batch[0]
        log.exception("outcome cannot be written", task_id=done.attempt.fence.task_id)
        plain = Failure(f"the outcome could not be stored: {type(error).__name__}")
        if done.outcome == plain:
            # Not even that: the heartbeat finds the row without an owner and gives it back.
            self._let_go(batch)
        else:
            self._finish([Finished(done.attempt, plain, done.delivery)])

    def _let_go(self, batch: Sequence[Finished]) -> None:
        self._ack([done.delivery for done in batch if done.delivery])
        if self._executor:
            self._executor.let_go(done.attempt.fence for done in batch)


_EVENTS = {
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.PENDING: "to be tried again",
    Status.CANCELLED: "cancelled",
}
