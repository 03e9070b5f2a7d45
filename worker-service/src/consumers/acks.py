"""Which deliveries of a channel are settled, and the fewest acks that tell the broker."""

from collections.abc import Iterable
from typing import NamedTuple


class Ack(NamedTuple):
    """One message to the broker; ``multiple`` stands for all lower tags as well."""

    tag: int
    multiple: bool


class Acks:
    """The tags of one channel, in the order in which they came.

    What is settled above one that still runs waits for it a little: then one ack is for all.
    """

    def __init__(self, most_waiting: int) -> None:
        """``most_waiting``: so many may wait, since each takes the place of a new delivery."""
        self._most_waiting = most_waiting
        #: Delivered and not settled, the lowest first; and the highest that was delivered.
        self._open: dict[int, None] = {}
        self._highest = 0
        #: Settled, and the broker does not know yet.
        self._waiting: set[int] = set()

    def deliver(self, tag: int) -> None:
        self._open[tag] = None
        self._highest = tag

    def refuse(self, tag: int) -> None:
        """Take in a tag that needs no ack: it is rejected."""
        self._open.pop(tag, None)

    def settle(self, tags: Iterable[int]) -> list[Ack]:
        """Take in tags to be acked; return the acks to send now, in this order.

        A tag that is settled already is left out: acked twice, it would close the channel.
        """
        for tag in tags:
            if tag in self._open:
                del self._open[tag]
                self._waiting.add(tag)
        lowest = next(iter(self._open), self._highest + 1)
        together = {tag for tag in self._waiting if tag < lowest}
        self._waiting -= together
        acks = [Ack(max(together), multiple=True)] if together else []
        return [*acks, *self.one_by_one()] if len(self._waiting) > self._most_waiting else acks

    def waits(self) -> bool:
        return bool(self._waiting)

    def one_by_one(self) -> list[Ack]:
        """Return acks for what has waited long enough."""
        acks = [Ack(tag, multiple=False) for tag in sorted(self._waiting)]
        self._waiting.clear()
        return acks
