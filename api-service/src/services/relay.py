"""Publishes what the outbox promises. One thread in each API process; nobody waits for it."""

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from src.contract import Queue
from src.db.database import Database, DatabaseUnavailable
from src.db.dialect import brief
from src.services.bookkeeping import Floor, Sent
from src.services.outbox import delete_promises, lock_due
from src.services.publisher import BrokerError, Message, Publisher

log = structlog.get_logger(__name__)

#: Seconds for the confirms of a batch; then the link counts as dead.
CONFIRM_SECONDS = 1.0
#: Seconds between two looks at what is due and was handed to nobody.
SWEEP_SECONDS = 1.0
#: Seconds to stay away from a broker that failed, by the number of failures in a row.
BACKOFF_SECONDS = (1, 2, 4, 5)
#: A connection that lasted so many seconds was a good one: the next failure is the first again.
GOOD_SECONDS = 10
#: Seconds for the thread to end when the process stops.
STOP_SECONDS = 2.0
#: Messages in one batch.
BATCH = 200
#: Handed messages held in memory. What does not fit is in the outbox and goes a little later.
BUFFER = 10_000


class Relay:
    """Takes committed tasks from the request threads and brings them to the broker."""

    def __init__(self, database: Database, broker_url: str, queue: Queue) -> None:
        self._database = database
        self._url = broker_url
        self._queue = queue
        self._lock = threading.Lock()
        self._pid = 0
        self._thread: threading.Thread | None = None
        self._buffer: deque[Message] = deque(maxlen=BUFFER)
        self._publisher: Publisher | None = None
        self._changed_at = datetime.now(UTC)
        self._sent = Sent()
        self._floor = Floor()
        #: When to look for what was handed to nobody, in seconds of ``time.monotonic``.
        self._next_sweep = 0.0
        self._batch = 1
        self._failures = 0
        self._stop = threading.Event()

    def hand(self, messages: Sequence[Message]) -> None:
        """Have messages published soon; returns at once, from any thread.

        While the broker is away nothing is kept here: the outbox has it, and a later sweep too.
        """
        self.start()
        publisher = self._publisher
        if publisher is None and self._failures:
            return
        self._buffer.extend(messages)
        if publisher:
            publisher.wake()

    def sweep_soon(self) -> None:
        """Have what is due and was handed to nobody sent soon; returns at once."""
        self.start()
        self._next_sweep = 0.0
        if publisher := self._publisher:
            publisher.wake()

    def start(self) -> None:
        """Start the thread unless this process has it. A fork takes no threads along."""
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid != os.getpid():
                self._buffer.clear()
                self._publisher = None
                self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
                self._thread.start()
                self._pid = os.getpid()

    def state(self) -> str:
        """Tell how the broker is: ``connected``, ``connecting`` or ``away``."""
        if self._publisher:
            return "connected"
        return "away" if self._failures else "connecting"

    def since(self) -> datetime:
        """Tell since when the broker is so, by this machine's clock."""
        return self._changed_at

    def stop(self) -> None:
        """End the thread, in a moment that suffices for what it was handed last.

        What it could not publish stays in the outbox.
        """
        self._stop.set()
        publisher = self._publisher
        if publisher:
            publisher.wake()
        if self._thread:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._serve()
            except BrokerError as error:
                self._back_off(str(error))
            except Exception as error:
                log.exception("relay stumbled")
                self._back_off(repr(error))

    def _serve(self) -> None:
        """Connect, then publish and sweep until the broker fails."""
        publisher = Publisher(self._url, self._queue)
        self._publisher = publisher
        self._changed_at = datetime.now(UTC)
        connected_at = time.monotonic()
        self._next_sweep = 0.0
        try:
            log.info("relay connected", queue=self._queue.name)
            while self._buffer or not self._stop.is_set():
                self._publish_handed(publisher)
                try:
                    self._sent.delete_if_due(self._database)
                    self._sweep_if_due(publisher)
                except (DatabaseUnavailable, SQLAlchemyError) as error:
                    # What is published and not deleted will be sent again: a left-over then.
                    log.warning("relay waits for the database", reason=brief(error))
                    self._next_sweep = time.monotonic() + SWEEP_SECONDS
                if not self._buffer:
                    wanted_at = min(self._next_sweep, self._sent.due_at)
                    publisher.idle(max(0.0, wanted_at - time.monotonic()))
        finally:
            if time.monotonic() - connected_at > GOOD_SECONDS:
                self._failures = 0
            self._publisher, self._changed_at = None, datetime.now(UTC)
            publisher.close()
            self._delete_sent()

    def _publish_handed(self, publisher: Publisher) -> None:
        messages = [self._buffer.popleft() for _ in range(min(self._batch, len(self._buffer)))]
        if not messages:
            return
        sent = publisher.publish(messages, CONFIRM_SECONDS)
        self._sent.note(sent)
        self._judge(len(messages), len(sent))

    def _delete_sent(self) -> None:
        try:
            self._sent.delete(self._database)
        except (DatabaseUnavailable, SQLAlchemyError) as error:
            log.warning("relay leaves what it sent in the outbox", reason=brief(error))

    def _sweep_if_due(self, publisher: Publisher) -> None:
        if time.monotonic() < self._next_sweep:
            return
        # Noted before: who asks for a sweep during this one gets another.
        self._next_sweep = time.monotonic() + SWEEP_SECONDS
        if self._sweep(publisher):
            self._next_sweep = 0.0

    def _sweep(self, publisher: Publisher) -> bool:
        """Send what is due and was handed to nobody, or to a relay that died.

        The rows stay locked while their messages are on the way, for ``CONFIRM_SECONDS`` at most.
        A transaction that fails is abandoned: what it sent will be sent once more, and that
        message will be a left-over.

        Returns:
            Whether there was as much as a batch holds, so that there may be more.
        """
        limit = self._batch
        with self._database.engine.begin() as connection:
            with self._floor.timed() as floor:
                due = lock_due(connection, limit, floor)
            sent = publisher.publish(due.messages, CONFIRM_SECONDS)
            delete_promises(connection, due.kept(sent))
        is_all = len(due.promises) < limit
        if is_all:
            self._floor.rise(due.read_at)
        if due.messages:
            self._judge(len(due.messages), len(sent))
        return not is_all

    def _judge(self, published: int, confirmed: int) -> None:
        if confirmed < published:
            raise BrokerError(f"{published - confirmed} of {published} messages were not confirmed")
        self._failures = 0
        self._batch = min(self._batch * 2, BATCH)

    def _back_off(self, reason: str) -> None:
        pause = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
        self._failures += 1
        if self._failures == 1:
            self._changed_at = datetime.now(UTC)
        self._batch = 1
        self._buffer.clear()
        log.warning("relay paused, tasks wait in the outbox", reason=reason, seconds=pause)
        self._stop.wait(pause)
