"""Takes what the broker pushes. The connection's thread never runs a handler or a statement."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pika
import structlog
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from src.backoff import broker_backoff
from src.consumers import Claimed, Delivery
from src.consumers.acks import Ack, Acks
from src.consumers.inbox import Inbox
from src.contract import DEAD_QUEUE, MalformedMessage, Queue, decode
from src.lease import Lease
from src.store.tasks import TaskStore

log = structlog.get_logger(__name__)

#: Seconds between heartbeats: a dead link is noticed within two.
HEARTBEAT_SECONDS = 5
#: Seconds that an ack may wait to be sent together with others. Nobody waits for it.
ACK_SECONDS = 0.1
#: Seconds that connecting, a handshake or a blocked connection may take.
CONNECT_SECONDS = 5


class ConsumerCancelled(Exception):
    """The broker took the subscription away: the queue was deleted or the channel closed."""


class RabbitConsumer:
    """One connection with one channel, in a thread of its own; made anew for ever."""

    def __init__(
        self,
        url: str,
        queue: Queue,
        prefetch: int,
        store: TaskStore,
        lease: Lease,
        wake: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._prefetch = prefetch
        self._store = store
        self._lease = lease
        self._wake = wake
        self.inbox = Inbox()
        self._generation = 0
        self._acks = self._no_acks()
        #: To be acked; and whether the connection's thread knows that it will have to.
        self._settled: deque[Delivery] = deque()
        self._acks_due = False
        self._connection: Any = None
        self._channel: Any = None
        self._stop = threading.Event()
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = HEARTBEAT_SECONDS
        self._parameters.socket_timeout = CONNECT_SECONDS
        self._parameters.stack_timeout = CONNECT_SECONDS
        self._parameters.blocked_connection_timeout = CONNECT_SECONDS
        self._parameters.connection_attempts = 1
        self._parameters.client_properties = {"connection_name": "worker-service"}
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Leave the broker: everything unacked goes to other workers at once.

        What still runs here is a left-over there, since its row is not PENDING.
        """
        self._stop.set()
        self._in_thread(partial(self._ack_all, self._acks))
        self._thread.join(seconds)

    def seconds_until_ready(self) -> float:
        return 0.0 if len(self.inbox) else float("inf")

    def claim(self, slots: int, *, take_suspect: bool) -> list[Claimed]:
        """Claim what was delivered; what needs no work, or not from us, is acked."""
        deliveries = self.inbox.take(slots)
        if not deliveries:
            return []
        ids = [delivery.task_id for delivery in deliveries]
        try:
            claim = self._store.claim(self._lease.worker_id, ids, take_suspect=take_suspect)
        except Exception:
            self.inbox.put(deliveries)
            raise
        if claim.missing:
            log.warning("message of an unknown task", task_ids=sorted(claim.missing))
        attempts = {attempt.fence.task_id: attempt for attempt in claim.attempts}
        claimed, left_over = [], []
        for delivery in deliveries:
            attempt = attempts.pop(delivery.task_id, None)
            if attempt:
                claimed.append(Claimed(attempt, delivery))
            else:
                left_over.append(delivery)
        self.ack(left_over)
        return claimed

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Settle deliveries in a moment, from any thread: to wake the connection's costs more.

        On a lost channel there is nothing to do: the broker delivers them again, and then they
        are left-overs.
        """
        self._settled.extend(deliveries)
        if len(self._settled) > self._prefetch // 8:
            self._in_thread(self._ack_settled)
        elif self._settled and not self._acks_due:
            self._acks_due = True
            self._in_thread(self._ack_later)

    def _in_thread(self, action: Callable[[], None]) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            connection.add_callback_threadsafe(action)
        except AMQPError:
            log.debug("connection lost before an ack")

    def _ack_settled(self) -> None:
        """Ack what is settled, but for what may wait for a lower tag."""
        self._ack_together()
        if self._acks.waits() and not self._acks_due:
            self._ack_later()

    def _ack_later(self) -> None:
        self._acks_due = True
        self._connection.call_later(ACK_SECONDS, partial(self._ack_all, self._acks))

    def _ack_all(self, acks: Acks) -> None:
        """Ack everything that is settled, one by one if need be; not on another channel."""
        if acks is self._acks:
            # Noted first: what is settled from here on asks for another time.
            self._acks_due = False
            self._ack_together()
            self._send(acks.one_by_one())

    def _ack_together(self) -> None:
        settled = [self._settled.popleft() for _ in range(len(self._settled))]
        tags = [d.tag for d in settled if d.generation == self._generation]
        self._send(self._acks.settle(tags))

    def _send(self, acks: Sequence[Ack]) -> None:
        for ack in acks:
            if self._channel.is_open:
                self._channel.basic_ack(ack.tag, multiple=ack.multiple)

    def _run(self) -> None:
        backoff = broker_backoff()
        while not self._stop.is_set():
            connected_as = self._generation
            try:
                self._serve()
                return
            except (AMQPError, AMQPConnectorException, ConsumerCancelled, OSError) as error:
                reason = str(error) or type(error).__name__
            except Exception as error:
                log.exception("consumer stumbled")
                reason = repr(error)
            if self._stop.is_set():
                return
            if self._generation > connected_as:
                backoff.reset()
            pause = backoff.next()
            log.warning("broker away, tasks come from the table", reason=reason, seconds=pause)
            self._stop.wait(pause)

    def _serve(self) -> None:
        """Connect and hand deliveries on until the connection, channel or queue is lost."""
        connection = pika.BlockingConnection(self._parameters)
        try:
            channel = connection.channel()
            channel.queue_declare(DEAD_QUEUE, durable=True)
            channel.queue_declare(self._queue.name, durable=True, arguments=self._queue.arguments)
            channel.basic_qos(prefetch_count=self._prefetch)
            self._begin(connection, channel)
            channel.basic_consume(self._queue.name, self._on_message)
            log.info("consuming", queue=self._queue.name, prefetch=self._prefetch)
            while not self._stop.is_set():
                connection.process_data_events(time_limit=1)
                # Neither a closed channel nor a cancelled consumer is raised by that call.
                if not channel.is_open or not channel.consumer_tags:
                    raise ConsumerCancelled("the broker closed the channel or deleted the queue")
        finally:
            self._connection = None
            self.inbox.begin(self._generation + 1)
            if connection.is_open:
                connection.close()

    def _begin(self, connection: Any, channel: Any) -> None:
        """Forget the earlier channel: its tags mean nothing on this one."""
        self._generation += 1
        self._acks, self._acks_due = self._no_acks(), False
        self.inbox.begin(self._generation)
        self._connection, self._channel = connection, channel

    def _no_acks(self) -> Acks:
        return Acks(most_waiting=self._prefetch // 4)

    def _on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._acks.deliver(method.delivery_tag)
        try:
            task_id = decode(body)
        except MalformedMessage as error:
            log.warning("unreadable message rejected", reason=str(error), queue=DEAD_QUEUE)
            self._acks.refuse(method.delivery_tag)
            channel.basic_reject(method.delivery_tag, requeue=False)
            return
        priority = properties.priority or 0
        self.inbox.put([Delivery(task_id, method.delivery_tag, self._generation, priority)])
        self._wake()
