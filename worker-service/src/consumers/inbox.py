"""Deliveries that wait for a free slot, the important ones first."""

import heapq
import itertools
import threading
from collections.abc import Iterable

from src.consumers import Delivery


class Inbox:
    """A heap by priority, then by arrival. Holds at most the prefetch count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heap: list[tuple[int, int, Delivery]] = []
        self._order = itertools.count()
        self._generation = 0

    def __len__(self) -> int:
        return len(self._heap)

    def begin(self, generation: int) -> None:
        """Drop what an earlier channel delivered: the broker delivers it again."""
        with self._lock:
            self._generation = generation
            self._heap.clear()

    def put(self, deliveries: Iterable[Delivery]) -> None:
        with self._lock:
            for delivery in deliveries:
                if delivery.generation == self._generation:
                    entry = (-delivery.priority, next(self._order), delivery)
                    heapq.heappush(self._heap, entry)

    def take(self, most: int) -> list[Delivery]:
        with self._lock:
            return [heapq.heappop(self._heap)[2] for _ in range(min(most, len(self._heap)))]
