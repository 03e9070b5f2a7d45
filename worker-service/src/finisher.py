"""Brings outcomes into the database, then acks. Keeps them while the database is away."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import structlog
from sqlalchemy.exc import SQLAlchemyError

from src.backoff import database_backoff
from src.consumers import Delivery
from src.contract import Status
from src.decision import Failure, RetryPolicy, decide, random_spread
from src.executor import Finished
from src.store.attempts import Fence
from src.store.dialect import brief, is_passing
from src.store.tasks import TaskStore

log = structlog.get_logger(__name__)

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

    def start(self, let_go: Callable[[Iterable[Fence]], None]) -> None:
        """Begin; ``let_go`` is told of every attempt whose outcome is committed."""
        self._forget = let_go
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
        backoff = database_backoff()
        while True:
            try:
                self._commit(batch)
            except Exception as error:  # noqa: BLE001 - logged either way
                if not is_passing(error) and self._isolate(batch, error):
                    return
                reason = brief(error) if isinstance(error, SQLAlchemyError) else repr(error)
                log.warning("outcomes wait for the database", outcomes=len(batch), reason=reason)
                time.sleep(backoff.next())
            else:
                return

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

    def _isolate(self, batch: Sequence[Finished], error: Exception) -> bool:
        """Find the outcome that cannot be written, so that it holds up no other.

        Written as a plain error in its place: if even that is refused, it was not the value's
        fault. Returns whether all of the batch is committed.
        """
        if len(batch) > 1:
            half = len(batch) // 2
            self._finish(batch[:half])
            self._finish(batch[half:])
            return True
        [done] = batch
        log.error(
            "outcome cannot be written",
            task_id=done.attempt.fence.task_id,
            attempt=done.attempt.fence.number,
            exc_info=error,
        )
        plain = Failure(f"the outcome could not be stored: {type(error).__name__}")
        try:
            self._commit([replace(done, outcome=plain)])
        except Exception as again:  # noqa: BLE001 - whatever it is, the first one counts
            log.warning("nor can an error in its place", reason=type(again).__name__)
            return False
        return True

    def _let_go(self, batch: Sequence[Finished]) -> None:
        self._ack([done.delivery for done in batch if done.delivery])
        self._forget(done.attempt.fence for done in batch)


_EVENTS = {
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.PENDING: "to be tried again",
    Status.CANCELLED: "cancelled",
}
