"""Brings outcomes into the database, then acks. Keeps them while the database is away."""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from src.backoff import database_backoff
from src.consumers import Delivery
from src.contract import Status
from src.decision import Decision, RetryPolicy, decide, random_spread
from src.execution import Finished
from src.logs import info_each
from src.outcome import Failure
from src.store.attempts import Fence
from src.store.dialect import brief, is_refusal
from src.store.tasks import TaskStore

log = structlog.get_logger(__name__)

#: Outcomes in one transaction. With 100 a backlog drains by a tenth slower.
BATCH = 400
#: Seconds until an outcome is tried again that was refused whatever was written.
ASIDE_SECONDS = 3.0


class Finisher:
    """One thread. What queues up while a commit runs shares the next one."""

    def __init__(
        self,
        store: TaskStore,
        policies: Mapping[str, RetryPolicy],
        ack: Callable[[Sequence[Delivery]], None],
        let_go: Callable[[Sequence[Fence]], None],
    ) -> None:
        """``let_go`` is told of every attempt whose outcome is committed."""
        self._store = store
        self._committed = let_go
        self._policies = policies
        self._ack = ack
        self._queue: queue.SimpleQueue[Finished] = queue.SimpleQueue()
        #: Held while an outcome is committed in the thread of its handler.
        self._here = threading.Lock()
        #: Everything that is not committed yet, for the end.
        self._waiting: dict[Fence, Finished] = {}

    def start(self) -> None:
        threading.Thread(target=self._run, name="finisher", daemon=True).start()

    def put(self, finished: Finished) -> None:
        self._waiting[finished.attempt.fence] = finished
        self._queue.put(finished)

    def finish_here(self, finished: Finished) -> None:
        """Commit an outcome in the caller's thread, unless others wait for theirs, or it fails.

        Where nothing else is to be written, to wake the finisher's thread takes longer than it
        saves. The last one of many goes with them.
        """
        if self._waiting or not self._here.acquire(blocking=False):
            self.put(finished)
            return
        self._waiting[finished.attempt.fence] = finished
        try:
            self._commit([finished], self._store)
        except Exception as error:  # noqa: BLE001 - the thread tries again, and tells of it
            log.debug("outcome left to the finisher", reason=repr(error), **_names(finished))
            self._queue.put(finished)
        finally:
            self._here.release()

    def flush(self, store: TaskStore) -> None:
        """Commit what waits, through a store of the caller's.

        The thread may do the same at this moment: the second of the two is refused by the fence.

        Raises:
            SQLAlchemyError: the database is away. What it refuses is left, to be given back.
        """
        if waiting := list(self._waiting.values()):
            self._flush(waiting, store)

    def _flush(self, batch: Sequence[Finished], store: TaskStore) -> None:
        try:
            self._commit(batch, store)
        except Exception as error:
            if not is_refusal(error):
                raise
            if len(batch) > 1:
                for done in batch:
                    self._flush([done], store)
            else:
                log.exception("outcome cannot be written", **_names(batch[0]))

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
                self._commit(batch, self._store)
            except Exception as error:  # noqa: BLE001 - logged either way
                if is_refusal(error):
                    self._isolate(batch, error)
                    return
                reason = brief(error) if isinstance(error, SQLAlchemyError) else repr(error)
                log.warning("outcomes wait for the database", outcomes=len(batch), reason=reason)
                time.sleep(backoff.next())
            else:
                return

    def _commit(self, batch: Sequence[Finished], store: TaskStore) -> None:
        decisions = {done.attempt.fence: self._decide(done) for done in batch}
        progress = {done.attempt.fence: done.progress for done in batch if done.progress}
        statuses = store.finish(decisions, progress)
        self._ack([done.delivery for done in batch if done.delivery])
        info_each(
            __name__,
            (
                _event(done, statuses.get(done.attempt.fence), decisions[done.attempt.fence].error)
                for done in batch
            ),
        )
        for done in batch:
            self._waiting.pop(done.attempt.fence, None)
        self._committed([done.attempt.fence for done in batch])

    def _decide(self, done: Finished) -> Decision:
        attempt = done.attempt
        policy = self._policies[attempt.type]
        decision = decide(done.outcome, attempt.counts, policy, random_spread())
        return decision._replace(wants_webhook=True) if attempt.wants_webhook else decision

    def _isolate(self, batch: Sequence[Finished], error: Exception) -> None:
        """Find the outcome that is refused, so that it holds up no other.

        Written as a plain error in its place. If even that is refused, it was not the value's
        fault: it is put aside, and comes again later.
        """
        if len(batch) > 1:
            half = len(batch) // 2
            self._finish(batch[:half])
            self._finish(batch[half:])
            return
        [done] = batch
        log.error("outcome cannot be written", exc_info=error, **_names(done))
        text = f"the outcome could not be stored: {type(error).__name__}"
        try:
            self._commit([done._replace(outcome=Failure(text, permanent=True))], self._store)
        except Exception as again:  # noqa: BLE001 - whatever it is, the first one counts
            log.warning("nor can an error in its place", reason=type(again).__name__)
            later = threading.Timer(ASIDE_SECONDS, self._queue.put, [done])
            later.daemon = True
            later.start()


def _event(done: Finished, status: Status | None, error: str | None) -> dict[str, Any]:
    event = {
        "event": "outcome refused, the task has moved on" if status is None else _EVENTS[status],
        "task_id": done.attempt.fence.task_id,
        "attempt": done.attempt.fence.number,
        "type": done.attempt.type,
        "seconds": round(done.seconds, 3),
    }
    return event | {"error": error} if error else event


def _names(done: Finished) -> dict[str, Any]:
    """Return what an event in the log calls it."""
    return {"task_id": done.attempt.fence.task_id, "attempt": done.attempt.fence.number}


_EVENTS = {
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.PENDING: "to be run again",
    Status.CANCELLED: "cancelled",
}
