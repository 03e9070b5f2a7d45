"""The attempts that this process answers for, from the claim until the outcome is committed."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from src.store.attempts import Attempt, Fence


class Held:
    """Asked by the heartbeat, which gives back rows of ours that are not in here."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._attempts: dict[Fence, Attempt] = {}
        self._suspects = 0
        self._claims_begun = self._claims_ended = 0

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

    def add(self, attempts: Iterable[Attempt]) -> None:
        with self._changed:
            for attempt in attempts:
                self._attempts[attempt.fence] = attempt
                self._suspects += attempt.suspect

    def let_go(self, fences: Iterable[Fence]) -> None:
        """Forget attempts whose outcome is committed, or refused as stale."""
        with self._changed:
            for fence in fences:
                attempt = self._attempts.pop(fence, None)
                self._suspects -= attempt.suspect if attempt else 0
            self._changed.notify_all()

    def fences(self) -> set[Fence]:
        with self._changed:
            return set(self._attempts)

    def suspects(self) -> int:
        """Count those under which a worker was lost before.

        Until the outcome is committed: a death before it is counted against them, too.
        """
        with self._changed:
            return self._suspects

    def wait_until_none(self, seconds: float) -> bool:
        """Wait until nothing is held any more; tell whether that came true in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._attempts, seconds)
