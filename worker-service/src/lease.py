"""This worker's right to act: under which id, and since when it is known to be alive."""

import time
import uuid


class Lease:
    """Renewed by the heartbeat, asked before anything is claimed or started.

    Written by the heartbeat's thread only; each field is replaced as a whole.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.worker_id = str(uuid.uuid4())
        self._renewed = float("-inf")

    def renew(self, at: float) -> None:
        """Note that a heartbeat begun ``at`` (monotonic) has been committed."""
        self._renewed = at

    def start_over(self) -> None:
        """Take a new id: under the old one others think us dead."""
        self.worker_id = str(uuid.uuid4())
        self._renewed = float("-inf")

    def is_fresh(self) -> bool:
        """Tell whether there is time enough left to begin something."""
        return time.monotonic() - self._renewed < self.seconds / 2
