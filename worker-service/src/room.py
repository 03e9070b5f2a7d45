"""How many attempts may be claimed: for free slots, and ahead of them where work is short."""

import time
from collections.abc import Mapping

from src.execution import Execution
from src.pace import AHEAD_SECONDS, Pace
from src.store.attempts import Fence


class Room:
    """Counts what waits for a slot and what occupies one. Both belong to the executor."""

    def __init__(
        self,
        concurrency: int,
        waiting: Mapping[Fence, Execution],
        running: Mapping[Fence, Execution],
    ) -> None:
        self._concurrency = concurrency
        self._waiting = waiting
        self._running = running
        self._pace = Pace()
        #: More is claimed once so few wait: half of what is claimed ahead, so that claims are cheap
        #: in large batches, and the slots go on with the other half while a claim is under way.
        self._few = 0

    def note(self, seconds: float) -> None:
        """Take in how long an attempt ran."""
        self._pace.note(seconds)

    def free_slots(self) -> int:
        """Count the slots that nothing runs in or waits for; below 0, so many wait beyond that."""
        return self._concurrency - len(self._running) - len(self._waiting)

    def look(self) -> int:
        """Return how many attempts may be claimed now, by how long they take lately."""
        late = time.monotonic() - AHEAD_SECONDS
        # Slots with long work will not be there for what is claimed ahead.
        slow = sum(execution.began_at < late for execution in list(self._running.values()))
        ahead = self._pace.ahead(self._concurrency - slow)
        self._few = ahead // 2
        return max(0, self.free_slots() + ahead) if self.has_few() else 0

    def has_few(self) -> bool:
        """Tell whether so few wait for a slot that more are to be claimed, as of the last look."""
        return self.free_slots() > 0 or len(self._waiting) <= self._few
