"""Few acks for many deliveries, on the channel that brought them."""

import random
import threading
from typing import Any

from src.consumers import Delivery
from src.consumers.acks import Ack, Acks
from src.consumers.rabbitmq import RabbitConsumer
from src.contract import task_queue
from src.lease import Lease


def test_all_up_to_a_tag_are_acked_with_it() -> None:
    acks = Acks()

    assert acks.settle([3, 1, 2]) == [Ack(3, multiple=True)]
    assert acks.settle([4]) == [Ack(4, multiple=True)]


def test_nothing_is_acked_that_is_not_settled() -> None:
    acks = Acks()

    assert acks.settle([2, 3]) == [Ack(2, multiple=False), Ack(3, multiple=False)]
    assert acks.settle([1, 5]) == [Ack(1, multiple=True), Ack(5, multiple=False)]
    assert acks.settle([4, 6]) == [Ack(6, multiple=True)]


def test_a_tag_is_acked_once() -> None:
    acks = Acks()

    acks.settle([1, 3])

    assert acks.settle([1, 3]) == []
    # 3 was acked alone: named again it would close the channel.
    assert acks.settle([2]) == [Ack(2, multiple=True)]


def test_a_rejected_tag_is_in_nobodys_way_and_never_acked() -> None:
    acks = Acks()

    acks.refuse([1])
    acks.refuse([3])

    assert acks.settle([2]) == [Ack(2, multiple=True)]


def test_in_whatever_order_they_are_settled_each_is_acked_once_and_in_time() -> None:
    dice = random.Random(7)  # noqa: S311 - no secret
    for _ in range(200):
        tags, outstanding, settled, acks = list(range(1, 41)), set(range(1, 41)), set(), Acks()
        dice.shuffle(tags)
        while tags:
            batch = [tags.pop() for _ in range(min(len(tags), dice.randint(1, 9)))]
            settled |= set(batch)
            for ack in acks.settle(batch):
                assert ack.tag in outstanding
                acked = {t for t in outstanding if t == ack.tag or (ack.multiple and t < ack.tag)}
                assert acked <= settled
                outstanding -= acked
            assert not outstanding & settled


class Channel:
    """Notes what is acked."""

    is_open = True

    def __init__(self) -> None:
        self.acked: list[tuple[int, bool]] = []

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        self.acked.append((tag, multiple))


class Connection:
    def add_callback_threadsafe(self, action: Any) -> None:
        action()


def test_another_channel_counts_anew_and_is_told_nothing_of_the_earlier_one() -> None:
    store: Any = None
    consumer = RabbitConsumer(
        "amqp://localhost", task_queue("classic"), 8, store, Lease(15), threading.Event().set
    )
    first, second = Channel(), Channel()
    connection = Connection()
    consumer._begin(connection, first)
    consumer.ack([Delivery("a", 1, 1, 4), Delivery("b", 2, 1, 4)])

    consumer._begin(connection, second)
    consumer.ack([Delivery("c", 5, 1, 4), Delivery("d", 1, 2, 4), Delivery("e", 3, 2, 4)])

    assert first.acked == [(2, True)]
    assert second.acked == [(1, True), (3, False)]
