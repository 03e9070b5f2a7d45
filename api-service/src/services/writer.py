"""Stores submissions together: whatever came while the last commit ran shares the next one."""

import asyncio
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog

from src.db.database import Database, DatabaseUnavailable, SchemaMismatch
from src.db.dialect import STATEMENT_SECONDS
from src.services.errors import TooManySubmissions
from src.services.new_tasks import KeysContended, NewTask, Stored, StoredBatch, commit_batch
from src.services.publisher import Message

log = structlog.get_logger(__name__)

#: Tasks in one transaction, and about how many bytes of them: the server takes 16 MiB at once.
BATCH, BATCH_BYTES = 200, 4 * 1024 * 1024
#: Submissions that wait. Requests are bounded before they come here; this is the last resort.
MAX_WAITING = 1_000
#: Seconds that a submission waits for its commit to begin.
WAIT_SECONDS = 2.0
#: Seconds that a commit under way may take, with another go after a lost connection.
COMMIT_SECONDS = 3 * STATEMENT_SECONDS
#: Seconds for what waits to be stored when the process stops.
STOP_SECONDS = 2.0

Answer = Stored | Exception


class Hand(Protocol):
    """Where committed tasks are handed to for delivery; must not block."""

    def hand(self, messages: Sequence[Message]) -> None: ...


class Withdrawn(Exception):
    """Some of a batch's clients are gone: it is not to be committed like this."""


@dataclass(eq=False)
class Waiting:
    """A submission, and the request that waits for it in an event loop."""

    task: NewTask
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    #: Its client is told 503: it must not be stored.
    is_withdrawn: bool = False
    _is_committing: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.size = self.task.size()
        self.stored: asyncio.Future[Stored] = self.loop.create_future()
        self._alarm = self.loop.call_later(WAIT_SECONDS, self._give_up_waiting)

    def begin_commit(self) -> bool:
        """Have it stored now; return False if it was withdrawn before."""
        with self._lock:
            self._is_committing = not self.is_withdrawn
            return self._is_committing

    def settle(self, answer: Answer) -> None:
        """Tell the request; in its event loop only."""
        self._alarm.cancel()
        if self.stored.done():
            return
        if isinstance(answer, Exception):
            self.stored.set_exception(answer)
        else:
            self.stored.set_result(answer)

    def _give_up_waiting(self) -> None:
        with self._lock:
            self.is_withdrawn = not self._is_committing
        if self.is_withdrawn:
            self._fail()
        else:
            self._alarm = self.loop.call_later(COMMIT_SECONDS, self._fail)

    def _fail(self) -> None:
        self.settle(DatabaseUnavailable("submissions are not stored in time"))


class Writer:
    """A thread, begun on first use, that never waits for more to come."""

    def __init__(self, database: Database, relay: Hand | None) -> None:
        self._database = database
        self._relay = relay
        self._lock = threading.Lock()
        self._pid = 0
        self._thread: threading.Thread | None = None
        self._waiting: deque[Waiting] = deque()
        self._called = threading.Event()
        self._stop = threading.Event()
        #: Since when the thread has been at one batch, in seconds of ``time.monotonic``.
        self._busy_since: float | None = None

    async def store(self, task: NewTask) -> Stored:
        """Return once the task is committed, or found to be stored under its key before.

        Raises:
            KeyReused: the key belongs to a submission that asked for something else.
            TooManySubmissions: it is not stored; no more may wait.
            DatabaseUnavailable: it is not stored, unless its commit was not answered.
        """
        self.start()
        if len(self._waiting) >= MAX_WAITING:
            raise TooManySubmissions
        waiting = Waiting(task)
        self._waiting.append(waiting)
        if not self._called.is_set():
            self._called.set()
        return await waiting.stored

    def start(self) -> None:
        """Start the thread unless this process has it. A fork takes no threads along."""
        if self._pid == os.getpid() and self._is_alive():
            return
        with self._lock:
            if self._pid != os.getpid():
                self._waiting.clear()
            if self._pid != os.getpid() or not self._is_alive():
                self._stop.clear()
                self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
                self._thread.start()
                self._pid = os.getpid()

    def check(self) -> None:
        """Return if submissions are stored, as far as can be told.

        Raises:
            DatabaseUnavailable: the thread has been at one batch for longer than can be.
        """
        since = self._busy_since
        if since is not None and time.monotonic() - since > WAIT_SECONDS + COMMIT_SECONDS:
            raise DatabaseUnavailable("the writer does not come back from a batch")

    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """End the thread once it has stored what waits, or after a moment."""
        self._stop.set()
        self._called.set()
        if self._thread:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._called.wait()
            self._called.clear()
            while self._waiting:
                batch: list[Waiting] = []
                self._busy_since = time.monotonic()
                try:
                    self._take(batch)
                    self._write(batch)
                except Exception as error:
                    log.exception("writer stumbled")
                    _settle(dict.fromkeys(batch, error))
                finally:
                    self._busy_since = None

    def _take(self, batch: list[Waiting]) -> None:
        """Move what waits into the batch, as far as it has room."""
        size = 0
        while self._waiting and len(batch) < BATCH:
            size += self._waiting[0].size
            if batch and size > BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())

    def _write(self, batch: Sequence[Waiting]) -> None:
        """Commit a batch, or else tell why not; one bad row fails its own request only."""
        batch = [waiting for waiting in batch if not waiting.is_withdrawn]
        if not batch:
            return
        try:
            stored = self._commit(batch)
        except Withdrawn:
            self._write(batch)
        except KeysContended as error:
            self._isolate(batch, error)
        except (DatabaseUnavailable, SchemaMismatch) as error:
            # One for each: an exception keeps the traceback of whoever raises it.
            _settle({waiting: type(error)(*error.args) for waiting in batch})
        except Exception as error:  # noqa: BLE001 - told to the one that it belongs to
            self._isolate(batch, error)
        else:
            self._hand(stored.messages)
            _settle({waiting: stored.answers[waiting.task.task_id] for waiting in batch})

    def _hand(self, messages: Sequence[Message]) -> None:
        """Give the relay what is due. It is stored whatever becomes of this; the outbox has it."""
        try:
            if self._relay and messages:
                self._relay.hand(messages)
        except Exception:
            log.exception("messages not handed over, a sweep will find them")

    def _isolate(self, batch: Sequence[Waiting], error: Exception) -> None:
        """Find the row that is refused, so that it holds up no other."""
        if len(batch) == 1:
            _settle({batch[0]: error})
            return
        half = len(batch) // 2
        self._write(batch[:half])
        self._write(batch[half:])

    def _commit(self, batch: Sequence[Waiting]) -> StoredBatch:
        def begin_commit() -> None:
            if not all(waiting.begin_commit() for waiting in batch):
                raise Withdrawn

        tasks = [waiting.task for waiting in batch]
        return commit_batch(
            self._database, tasks, promise_delivery=self._relay is not None, ready=begin_commit
        )


def _settle(answers: Mapping[Waiting, Answer]) -> None:
    """Tell the requests, with one call into each event loop: such a call costs a wake-up."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Waiting, Answer]]] = defaultdict(list)
    for waiting, answer in answers.items():
        by_loop[waiting.loop].append((waiting, answer))
    for loop, settled in by_loop.items():
        try:
            loop.call_soon_threadsafe(partial(_settle_here, settled))
        except RuntimeError:  # the loop is closed: nobody waits any more
            continue


def _settle_here(settled: Sequence[tuple[Waiting, Answer]]) -> None:
    for waiting, answer in settled:
        waiting.settle(answer)
