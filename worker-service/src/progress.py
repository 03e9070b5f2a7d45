"""Writes how far the handlers say they are: the latest of each attempt, not every one."""

import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from src.outcome import Progress
from src.store.attempts import Fence
from src.store.dialect import brief
from src.store.tasks import TaskStore

log = structlog.get_logger(__name__)

#: Seconds between two writes: often enough for somebody who watches.
PERIOD_SECONDS = 0.5


class ProgressWriter:
    """One thread. What is reported between two writes shares the next; failures are forgotten.

    An attempt's last progress is written with its outcome, so nothing here must be waited for.
    """

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._latest: dict[Fence, Progress] = {}
        self._reported = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="progress", daemon=True).start()

    def report(self, fence: Fence, progress: Progress) -> None:
        with self._lock:
            self._latest[fence] = progress
        self._reported.set()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._reported.wait()
            self._reported.clear()
            with self._lock:
                latest, self._latest = self._latest, {}
            try:
                if latest:
                    self._store.write_progress(latest)
            except SQLAlchemyError as error:
                log.warning("progress not written", reason=brief(error))
            except Exception:
                log.exception("progress writer stumbled")
            pause.wait(PERIOD_SECONDS)
