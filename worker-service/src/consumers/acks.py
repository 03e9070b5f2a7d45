"""Which deliveries of a channel are settled, and the fewest acks that tell the broker."""

from collections.abc import Iterable
from typing import NamedTuple


class Ack(NamedTuple):
    """One message to the broker; ``multiple`` stands for all lower tags as well."""

    tag: int
    multiple: bool


class Acks:
    """The tags of one channel, which count from 1."""

    def __init__(self) -> None:
        #: All tags up to this one are settled, and of those above it these are.
        self._low = 0
        self._above: set[int] = set()

    def settle(self, tags: Iterable[int]) -> list[Ack]:
        """Take in tags to be acked; return the acks to send, in this order.

        A tag that is settled already is left out: acked twice, it would close the channel. For
        the same reason a multiple ack names the highest new tag and not the highest settled one.
        """
        new = sorted(tag for tag in set(tags) if tag > self._low and tag not in self._above)
        self.refuse(new)
        together = sum(tag <= self._low for tag in new)
        acks = [Ack(tag, multiple=False) for tag in new[together:]]
        return [Ack(new[together - 1], multiple=True), *acks] if together else acks

    def refuse(self, tags: Iterable[int]) -> None:
        """Take in tags that need no ack: they are rejected."""
        self._above.update(tags)
        while self._low + 1 in self._above:
            self._low += 1
            self._above.remove(self._low)
