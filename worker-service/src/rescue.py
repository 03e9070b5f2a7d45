"""Tells the dead from the silent: by this worker's own clock and nobody else's."""

from collections.abc import Mapping


class DeathWatch:
    """Another worker is dead once its beat has stood still for a lease, watched without a gap.

    A gap is a sweep that failed or came late: the database may have been away for everybody,
    or this machine asleep. Then the count begins anew and nobody is buried for it.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._seen: dict[str, tuple[int, float]] = {}
        self._last_sweep = float("-inf")

    def observe(self, beats: Mapping[str, int], at: float) -> dict[str, int]:
        """Take in the beats of the others, read ``at`` (monotonic seconds).

        Returns:
            The dead, with the beat at which they stopped.
        """
        if at - self._last_sweep > self._lease_seconds / 3:
            self.restart()
        self._last_sweep = at
        self._seen = {
            worker_id: self._seen[worker_id]
            if self._seen.get(worker_id, (None,))[0] == beat
            else (beat, at)
            for worker_id, beat in beats.items()
        }
        return {
            worker_id: beat
            for worker_id, (beat, since) in self._seen.items()
            if at - since >= self._lease_seconds
        }

    def restart(self) -> None:
        """Forget what was seen; to be called after a sweep that failed."""
        self._seen.clear()
