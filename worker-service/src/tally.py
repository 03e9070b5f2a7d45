"""Counts kept by many threads."""

import threading
from collections import defaultdict


class Tally:
    """A sum to which each thread adds in a place of its own, so that none waits for another."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = defaultdict(int)

    def add(self, number: int = 1) -> None:
        self._counts[threading.get_ident()] += number

    def total(self) -> int:
        # A list of them is made in one step, whatever thread adds its place meanwhile.
        return sum(list(self._counts.values()))
