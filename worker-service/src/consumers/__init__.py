"""Where tasks come from: pushed by the broker, or found in the table."""

from typing import NamedTuple, Protocol

from src.store.attempts import Attempt


class Delivery(NamedTuple):
    """One arrival of a message. The tag is good only on the channel of that generation."""

    task_id: str
    tag: int
    generation: int
    priority: int


class Claimed(NamedTuple):
    """An attempt to start, with the delivery to ack once its outcome is committed."""

    attempt: Attempt
    delivery: Delivery | None = None


class Consumer(Protocol):
    """A source of attempts, asked by the dispatcher's thread only."""

    def seconds_until_ready(self) -> float:
        """Tell when it is worth asking; 0 for now. It wakes the dispatcher if sooner."""

    def claim(self, slots: int, *, take_suspect: bool) -> list[Claimed]:
        """Claim at most so many tasks. Database errors are the dispatcher's."""
