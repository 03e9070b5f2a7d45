"""Signs of life: renews the lease, gives back what was lost, rescues the tasks of the dead."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from src.contract import Status
from src.executor import Executor
from src.held import Held
from src.lease import Lease
from src.outcome import Released, Stopped
from src.rescue import DeathWatch
from src.store.attempts import Fence
from src.store.dialect import brief
from src.store.leases import Beat, LeaseStore
from src.store.tasks import TaskStore

log = structlog.get_logger(__name__)

#: Heartbeats in the time of a lease. Sweeps a third of a lease apart still count.
BEATS_PER_LEASE = 5


class Heartbeat:
    """One thread with a connection of its own, so that nothing else can delay it."""

    def __init__(
        self,
        tasks: TaskStore,
        leases: LeaseStore,
        lease: Lease,
        executor: Executor,
        held: Held,
        *,
        about: Mapping[str, Any],
        catalogue: Sequence[Mapping[str, Any]],
        renewed: Callable[[], None],
        rescued: Callable[[], None],
        sign_file: Path | None = None,
    ) -> None:
        self._leases = leases
        self._tasks = tasks
        self._lease = lease
        self._executor = executor
        self._held = held
        self._about = about
        self._catalogue = catalogue
        self._unpublished, self._is_published = True, False
        self._renewed = renewed
        self._rescued = rescued
        self._sign_file = sign_file
        self._watch = DeathWatch(lease.seconds)
        #: Rows found without an owner here, with the number of claims begun by then.
        self._unowned: dict[Fence, int] = {}
        self._registered = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """End; wait for a beat that is under way."""
        self._stop.set()
        self._thread.join(seconds)

    def beat_once(self) -> None:
        """Give one sign of life and look after what depends on it."""
        began = time.monotonic()
        try:
            beat = self._beat(began)
        except SQLAlchemyError as error:
            self._watch.restart()
            log.warning("heartbeat failed", reason=brief(error))
            return
        if beat is None:
            return
        try:
            for fence, cancel_requested in beat.claimed.items():
                if cancel_requested:
                    self._executor.tell(fence, Stopped())
            self._give_back_unowned(set(beat.claimed))
            others = {id_: n for id_, n in beat.beats.items() if id_ != self._lease.worker_id}
            self._rescue(others, began)
        except SQLAlchemyError as error:
            # A collision with another rescuer, mostly; the next sweep does it again.
            log.warning("sweep failed", reason=brief(error))
        try:
            self._publish_types()
        except SQLAlchemyError as error:
            log.warning("types not in the catalogue yet", reason=brief(error))
        self._leave_sign()

    def _beat(self, began: float) -> Beat | None:
        """Renew the lease; return None if it had to be taken out anew."""
        if not self._registered:
            self._register()
        beat = self._leases.beat(self._lease.worker_id, self._executor.load())
        if beat is None:
            if self._stop.is_set():
                # The sign-off was faster: no new row for one who leaves.
                return None
            log.warning("taken for dead, starting over", worker_id=self._lease.worker_id)
            self._registered = False
            # Others run these tasks by now: whatever came of them here would be refused.
            self._executor.tell_all(Released("its worker had lost the lease"))
            self._register()
            return None
        self._lease.renew(began)
        self._renewed()
        return beat

    def _run(self) -> None:
        while True:
            try:
                self.beat_once()
            except Exception:
                self._watch.restart()
                log.exception("heartbeat stumbled")
            if self._stop.wait(self._lease.seconds / BEATS_PER_LEASE):
                return

    def _register(self) -> None:
        """Take a new id: the old one's tasks were taken away, or its insert was not answered."""
        self._lease.start_over()
        self._unowned.clear()
        self._watch.restart()
        self._leases.register(self._lease.worker_id, self._about)
        self._registered = self._unpublished = True
        log.info("registered", worker_id=self._lease.worker_id, **self._about)

    def _publish_types(self) -> None:
        """Put our types into the catalogue: at the start, and where it was emptied since.

        What is there later may be a newer release's.
        """
        if self._unpublished:
            self._leases.publish_types(self._catalogue, overwrite=not self._is_published)
            self._unpublished, self._is_published = False, True

    def _leave_sign(self) -> None:
        if self._sign_file:
            try:
                self._sign_file.touch()
            except OSError as error:
                log.warning("heartbeat file cannot be touched", reason=str(error))

    def _give_back_unowned(self, claimed: set[Fence]) -> None:
        """Give back rows that are PROCESSING under our id and of which nobody here knows.

        Such a row comes from a claim whose commit was answered to nobody. It must be seen twice,
        with every claim ended that had begun by the first time.
        """
        begun, ended = self._held.claims()
        unowned = claimed - self._held.fences()
        lost = {f for f in unowned if f in self._unowned and self._unowned[f] <= ended}
        self._unowned = {fence: self._unowned.get(fence, begun) for fence in unowned}
        for fence in self._tasks.give_back(lost, "its claim was answered to nobody"):
            log.warning("gave back", task_id=fence.task_id, attempt=fence.number)

    def _rescue(self, others: Mapping[str, int], at: float) -> None:
        for worker_id, beat in self._watch.observe(others, at).items():
            taken = self._leases.bury(worker_id, beat)
            if taken is not None:
                log.warning("worker lost", lost_worker_id=worker_id, tasks=len(taken))
                self._report_rescued(taken)
        self._report_rescued(self._leases.take_orphans())

    def _report_rescued(self, taken: Mapping[Fence, Status]) -> None:
        for fence, status in taken.items():
            log.warning("rescued", task_id=fence.task_id, attempt=fence.number, status=status)
        if taken:
            self._rescued()
