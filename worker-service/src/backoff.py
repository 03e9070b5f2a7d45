"""Pauses between goes at something that is away."""


class Backoff:
    """Doubles from the first pause to the last; begins anew after a success. Seconds."""

    def __init__(self, first: float, last: float) -> None:
        self._first = first
        self._last = last
        self._next = first

    def next(self) -> float:
        pause = self._next
        self._next = min(pause * 2, self._last)
        return pause

    def reset(self) -> None:
        self._next = self._first


def database_backoff() -> Backoff:
    """For a database: it is back at once after a collision, or in a while after an outage."""
    return Backoff(0.2, 3.0)


def broker_backoff() -> Backoff:
    """For a broker: the table is looked through meanwhile, so there is no hurry."""
    return Backoff(1.0, 5.0)
