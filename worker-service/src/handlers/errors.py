"""What a handler raises to say more than "it failed"."""


class Permanent(Exception):
    """Another attempt would end the same way: the task is FAILED at once."""


class RetryAfter(Exception):
    """Failed, and it is worth trying again after so many seconds.

    Counts as an error like any other exception: the last one allowed ends the task.
    """

    def __init__(self, seconds: float, reason: str = "") -> None:
        super().__init__(reason or f"try again after {seconds} s")
        self.seconds = seconds


class Cancelled(Exception):
    """Raised by a handler that stops because it was told to; see ``Context.cancelled``."""
