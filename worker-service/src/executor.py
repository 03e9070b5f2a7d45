"""Runs handlers in a fixed number of threads and knows what is under way."""

import json
import queue
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from src.consumers import Claimed, Delivery
from src.decision import Failure, Outcome, Stopped, Success
from src.handlers import Cancelled, Context, Handler
from src.store.attempts import Attempt, Fence
from src.store.leases import Load

log = structlog.get_logger(__name__)

#: Bytes of a result as JSON; larger ones belong into a store of their own.
MAX_RESULT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Finished:
    """An attempt's outcome on its way to the database, and the delivery to ack after it."""

    attempt: Attempt
    outcome: Outcome
    delivery: Delivery | None


class Executor:
    """``concurrency`` slots. An attempt is held from its start until its outcome is committed."""

    def __init__(
        self,
        concurrency: int,
        handlers: Mapping[str, Handler],
        finished: Callable[[Finished], None],
        slot_freed: Callable[[Attempt], None],
    ) -> None:
        self._concurrency = concurrency
        self._handlers = handlers
        self._finished = finished
        self._slot_freed = slot_freed
        self._work: queue.SimpleQueue[tuple[Claimed, Context]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._running: dict[Fence, tuple[Attempt, Context]] = {}
        self._held: set[Fence] = set()
        self._processed = self._failed = 0
        self._claims_begun = self._claims_ended = 0

    def start_threads(self) -> None:
        for number in range(self._concurrency):
            threading.Thread(target=self._run, name=f"handler-{number}", daemon=True).start()

    def free_slots(self) -> int:
        return self._concurrency - len(self._running)

    def runs_suspect(self) -> bool:
        with self._changed:
            return any(attempt.suspect for attempt, _ in self._running.values())

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """Count a claim while its rows may be committed and yet not be known here."""
        self._claims_begun += 1
        try:
            yield
        finally:
            self._claims_ended += 1

    def claims(self) -> tuple[int, int]:
        """Return how many claims were begun and ended so far."""
        return self._claims_begun, self._claims_ended

    def start(self, claimed: Claimed) -> None:
        """Give a claimed attempt to a free thread."""
        attempt = claimed.attempt
        context = Context(
            attempt.fence.task_id, attempt.fence.number, attempt.title, attempt.description
        )
        with self._changed:
            self._running[attempt.fence] = (attempt, context)
            self._held.add(attempt.fence)
        self._work.put((claimed, context))

    def held(self) -> set[Fence]:
        """Return what runs here or waits for its outcome to be committed."""
        with self._changed:
            return set(self._held)

    def let_go(self, fences: Iterable[Fence]) -> None:
        """Forget attempts whose outcome is committed, or refused as stale."""
        with self._changed:
            self._held.difference_update(fences)
            self._changed.notify_all()

    def cancel(self, fences: Iterable[Fence]) -> None:
        """Tell handlers to stop."""
        with self._changed:
            contexts = [self._running[fence][1] for fence in fences if fence in self._running]
        for context in contexts:
            context.cancelled.set()

    def load(self) -> Load:
        return Load(len(self._running), self._processed, self._failed)

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until nothing is held any more; tell whether that came true in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._held, seconds)

    def _run(self) -> None:
        while True:
            claimed, context = self._work.get()
            attempt = claimed.attempt
            log.info("started", task_id=attempt.fence.task_id, attempt=attempt.fence.number)
            outcome = self._outcome(attempt, context)
            with self._changed:
                del self._running[attempt.fence]
                self._processed += 1
                self._failed += isinstance(outcome, Failure)
            self._finished(Finished(attempt, outcome, claimed.delivery))
            self._slot_freed(attempt)

    def _outcome(self, attempt: Attempt, context: Context) -> Outcome:
        """Run the handler and return what it did as a value; nothing escapes."""
        try:
            result = self._handlers[attempt.type](attempt.details, context)
            size = len(json.dumps(result, allow_nan=False, ensure_ascii=False).encode())
            if size > MAX_RESULT_BYTES:
                return Failure(f"result of {size} bytes; at most {MAX_RESULT_BYTES} are kept")
            return Success(result)
        except BaseException as error:
            if isinstance(error, Cancelled) and context.cancelled.is_set():
                return Stopped()
            log.warning(
                "handler failed",
                task_id=attempt.fence.task_id,
                attempt=attempt.fence.number,
                exc_info=True,
            )
            return Failure(_describe(error), "".join(traceback.format_exception(error)))


def _describe(error: BaseException) -> str:
    """Name type and message; an exception's own text may raise in turn."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - whatever it is, the handler's failure is what counts
        return f"{type(error).__name__}, whose text cannot be read"
