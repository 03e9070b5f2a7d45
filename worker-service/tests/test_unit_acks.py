"""Few acks for many deliveries, on the channel that brought them."""

import random
import threading
from typing import Any

from src.consumers import Delivery
from src.consumers.acks import Ack, Acks
from src.consumers.rabbitmq import RabbitConsumer
from src.contract import task_queue
from src.lease import Lease


def delivered(*tags: int, most_waiting: int = 100) -> Acks:
    acks = Acks(most_waiting)
    for tag in tags:
        acks.deliver(tag)
    return acks


def test_all_up_to_a_tag_are_acked_with_it() -> None:
    acks = delivered(1, 2, 3, 4)

    assert acks.settle([3, 1, 2]) == [Ack(3, multiple=True)]
    assert acks.settle([4]) == [Ack(4, multiple=True)]


def test_what_is_settled_above_one_that_runs_waits_for_it() -> None:
    acks = delivered(1, 2, 3, 4, 5)

    assert acks.settle([2, 3]) == []
    assert acks.waits()
    assert acks.settle([1, 5]) == [Ack(3, multiple=True)]
    assert acks.settle([4]) == [Ack(5, multiple=True)]
    assert not acks.waits()


def test_what_has_waited_long_enough_is_acked_alone_and_never_again() -> None:
    acks = delivered(1, 2, 3, 4)
    acks.settle([2, 4])

    assert acks.one_by_one() == [Ack(2, multiple=False), Ack(4, multiple=False)]
    assert acks.one_by_one() == []
    # Of 1 to 3 only these two are unknown to the broker; 4 named again would close the channel.
    assert acks.settle([1, 2, 3, 4]) == [Ack(3, multiple=True)]


def test_no_more_wait_than_they_may() -> None:
    acks = delivered(1, 2, 3, 4, 5, most_waiting=2)

    assert acks.settle([3, 5]) == []
    assert acks.settle([2]) == [Ack(tag, multiple=False) for tag in (2, 3, 5)]


def test_a_rejected_tag_is_in_nobodys_way_and_never_acked() -> None:
    acks = delivered(1, 2, 3)

    acks.refuse(1)
    acks.refuse(3)

    assert acks.settle([2, 3]) == [Ack(2, multiple=True)]


def test_in_whatever_order_they_are_settled_each_is_acked_once() -> None:
    dice = random.Random(7)  # noqa: S311 - no secret
    for _ in range(200):
        tags = list(range(1, 41))
        outstanding, settled, acks = set(tags), set(), delivered(*tags, most_waiting=10)
        dice.shuffle(tags)
        while tags:
            batch = [tags.pop() for _ in range(min(len(tags), dice.randint(1, 9)))]
            settled |= set(batch)
            late = acks.one_by_one() if dice.random() < 0.2 else []
            for ack in [*late, *acks.settle(batch)]:
                assert ack.tag in outstanding
                acked = {t for t in outstanding if t == ack.tag or (ack.multiple and t < ack.tag)}
                assert acked <= settled
                outstanding -= acked
            assert len(outstanding & settled) <= 10
            assert acks.waits() == bool(outstanding & settled)
        assert not outstanding


class Channel:
    """Notes what is acked."""

    is_open = True

    def __init__(self) -> None:
        self.acked: list[tuple[int, bool]] = []

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        self.acked.append((tag, multiple))


class Connection:
    """Does at once what is to be done in its thread, and later what is asked for later."""

    def __init__(self) -> None:
        self.later: list[Any] = []
        self.called = 0

    def be_later(self) -> None:
        due, self.later = self.later, []
        for action in due:
            action()

    def add_callback_threadsafe(self, action: Any) -> None:
        self.called += 1
        action()

    def call_later(self, _seconds: float, action: Any) -> None:
        self.later.append(action)


def consuming() -> RabbitConsumer:
    store: Any = None
    return RabbitConsumer(
        "amqp://localhost", task_queue("classic"), 32, store, Lease(15), threading.Event().set
    )


def deliver(consumer: RabbitConsumer, tags: range) -> None:
    for tag in tags:
        consumer._acks.deliver(tag)


def test_another_channel_counts_anew_and_is_told_nothing_of_the_earlier_one() -> None:
    consumer, connection, first, second = consuming(), Connection(), Channel(), Channel()
    consumer._begin(connection, first)
    deliver(consumer, range(1, 3))
    consumer.ack([Delivery("a", 1, 1, 4), Delivery("b", 2, 1, 4)])
    connection.be_later()

    consumer._begin(connection, second)
    deliver(consumer, range(1, 4))
    consumer.ack([Delivery("c", 5, 1, 4), Delivery("d", 1, 2, 4), Delivery("e", 2, 2, 4)])
    connection.be_later()

    assert first.acked == [(2, True)]
    assert second.acked == [(2, True)]


def test_acks_wait_a_moment_for_others_and_wake_the_thread_once() -> None:
    consumer, connection, channel = consuming(), Connection(), Channel()
    consumer._begin(connection, channel)
    deliver(consumer, range(1, 5))

    for tag in (1, 2, 3):
        consumer.ack([Delivery("t", tag, 1, 4)])

    assert (channel.acked, connection.called) == ([], 1)
    connection.be_later()
    assert channel.acked == [(3, True)]
    consumer.ack([Delivery("t", 4, 1, 4)])
    connection.be_later()
    assert channel.acked == [(3, True), (4, True)]


def test_an_eighth_of_the_prefetch_is_acked_at_once() -> None:
    consumer, connection, channel = consuming(), Connection(), Channel()
    consumer._begin(connection, channel)
    deliver(consumer, range(1, 10))

    consumer.ack([Delivery("t", tag, 1, 4) for tag in range(1, 6)])

    assert channel.acked == [(5, True)]


def test_who_leaves_acks_what_is_settled() -> None:
    consumer, connection, channel = consuming(), Connection(), Channel()
    consumer._begin(connection, channel)
    deliver(consumer, range(1, 4))
    consumer.ack([Delivery("t", 1, 1, 4), Delivery("t", 3, 1, 4)])
    consumer._thread.join = lambda _seconds: None  # type: ignore[method-assign, misc, assignment]

    consumer.close(seconds=0)

    assert channel.acked == [(1, True), (3, False)]


def test_an_ack_waits_a_moment_only_and_not_on_another_channel() -> None:
    consumer, connection, first, second = consuming(), Connection(), Channel(), Channel()
    consumer._begin(connection, first)
    deliver(consumer, range(1, 4))

    consumer.ack([Delivery("b", 2, 1, 4)])
    consumer.ack([Delivery("c", 3, 1, 4)])
    [first_is_due] = connection.later

    assert first.acked == []
    first_is_due()
    assert first.acked == [(2, False), (3, False)]

    deliver(consumer, range(4, 6))
    consumer.ack([Delivery("d", 5, 1, 4)])
    [_, second_is_due] = connection.later
    consumer._begin(connection, second)
    second_is_due()
    assert second.acked == []
