"""Finds in the table what the broker failed to push; without a broker, everything."""

import time
from collections.abc import Callable

from src.consumers import Claimed
from src.lease import Lease
from src.store.tasks import TaskStore

#: How many times as long as a poll took is waited before the next one. Tasks of types that are not
#: served here, waiting by the ten thousands, make it slow: then it is not to fill the database.
REST = 10
MOST_REST_SECONDS = 1.0


class Poller:
    """Asks once a period, and again at once while it finds as much as it may take."""

    def __init__(
        self,
        store: TaskStore,
        lease: Lease,
        *,
        period_seconds: float,
        overdue_seconds: float,
        waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        self._store = store
        self._lease = lease
        self._period = period_seconds
        self._overdue = overdue_seconds
        self._waiting = waiting
        self._due = time.monotonic()
        self._hastened = False

    def seconds_until_ready(self) -> float:
        return max(0.0, self._due - time.monotonic())

    def hasten(self) -> None:
        """Ask at the next occasion; from any thread."""
        self._hastened = True
        self._due = time.monotonic()

    def claim(self, slots: int, *, take_suspect: bool) -> list[Claimed]:
        """Claim what is overdue. While deliveries wait it takes one, so that none starves."""
        limit = 1 if self._waiting() else slots
        began, self._hastened = time.monotonic(), False
        attempts = self._store.claim_overdue(
            self._lease.worker_id, limit, self._overdue, take_suspect=take_suspect
        )
        again = self._hastened or (len(attempts) == limit and not self._waiting())
        took = time.monotonic() - began
        self._due = time.monotonic() + (
            0 if again else max(self._period, min(REST * took, MOST_REST_SECONDS))
        )
        return [Claimed(attempt) for attempt in attempts]
