"""A channel with confirms, driven by the thread that owns it; the only pika of the API."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pika
from pika.exceptions import AMQPError

from src.contract import DEAD_QUEUE, DEFAULT_PRIORITY, MESSAGE_PRIORITY, Queue, encode

#: Seconds for connecting, opening the channel and declaring the queues.
CONNECT_SECONDS = 5
#: Seconds for the broker to say goodbye.
CLOSE_SECONDS = 0.5
#: Seconds between heartbeats. A dead link is noticed sooner, by its missing confirms.
HEARTBEAT_SECONDS = 30
#: Seconds between two looks at what the broker says of its own accord, heartbeats and alarms.
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Message:
    """What the relay needs to know of a task to send it."""

    task_id: str
    priority: int
    type: str
    traceparent: str | None = None

    def headers(self) -> dict[str, str]:
        trace = {"traceparent": self.traceparent} if self.traceparent else {}
        return {"type": self.type, **trace}


class BrokerError(Exception):
    """The broker is away, refuses us or does not answer in time."""


class _Connection(pika.SelectConnection):  # type: ignore[misc] # pika tells no types
    """Sends together what was written since it last sent.

    pika hands each frame to the system by itself: three calls a message, and with each of them
    the thread lets go of the interpreter and queues up for it again.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._written: list[bytes] = []
        super().__init__(*args, **options)

    def send_written(self) -> None:
        if self._written and not self.is_closed:
            super()._adapter_emit_data(b"".join(self._written))
        self._written.clear()

    def _adapter_emit_data(self, data: bytes) -> None:
        self._written.append(data)


class Publisher:
    """One SelectConnection. Only ``wake`` may be called by another thread.

    The loop is turned by hand, as pika's own BlockingConnection does it: so a batch is published
    pipelined and yet awaited in one call, which BlockingConnection itself cannot do.
    """

    def __init__(self, url: str, queue: Queue) -> None:
        self._queue = queue
        self._failure: str | None = None
        self._channel: Any = None
        self._sent = 0
        self._unconfirmed: dict[int, str] = {}
        self._confirmed: set[str] = set()
        self._returned: set[str] = set()
        self._woken = threading.Event()
        parameters = pika.URLParameters(url)
        parameters.heartbeat = HEARTBEAT_SECONDS
        parameters.socket_timeout = parameters.stack_timeout = CONNECT_SECONDS
        parameters.connection_attempts = 1
        parameters.client_properties = {"connection_name": "api-service relay"}
        self._connection = _Connection(
            parameters,
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
            on_open_error_callback=lambda _c, error: self._fail(error),
            on_close_callback=lambda _c, reason: self._fail(reason),
        )
        self._connection.add_on_connection_blocked_callback(
            lambda _c, _frame: self._fail("blocked: memory or disk alarm")
        )
        self._loop = self._connection.ioloop
        self._loop.activate_poller()
        try:
            self._turn_until(lambda: self._channel is not None, CONNECT_SECONDS)
            self._raise_failure()
            if self._channel is None:
                raise BrokerError(f"no connection within {CONNECT_SECONDS} s")
        except BrokerError:
            self.close()
            raise

    def publish(self, messages: Sequence[Message], seconds: float) -> set[str]:
        """Send messages and wait for their confirms.

        Returns:
            The ids that lie in the queue for sure. One that was returned as unroutable is not
            among them, although the broker confirms it too.

        Raises:
            BrokerError: the connection is lost; what was not confirmed may still arrive.
        """
        self._unconfirmed, self._confirmed, self._returned = {}, set(), set()
        try:
            for message in messages:
                self._send(message)
        except AMQPError as error:
            raise BrokerError(repr(error)) from error
        self._turn_until(lambda: not self._unconfirmed, seconds)
        return self._confirmed - self._returned

    def idle(self, seconds: float) -> None:
        """Wait for so long, or until woken, and look after the connection now and then.

        Not in pika's loop: to get out of it takes three system calls, and the message that comes
        next waits for them.

        Raises:
            BrokerError: the connection is lost.
        """
        if not self._woken.wait(min(seconds, LOOK_SECONDS)):
            self._loop.call_later(0, lambda: None)
            self._step()
        self._woken.clear()
        self._raise_failure()

    def wake(self) -> None:
        """End ``idle``, from any thread."""
        self._woken.set()

    def close(self) -> None:
        """Let go of the connection, politely if it takes no time."""
        if not (self._connection.is_closed or self._connection.is_closing):
            self._connection.close()
        self._turn(lambda: bool(self._connection.is_closed), CLOSE_SECONDS)
        self._loop.deactivate_poller()
        self._loop.close()

    def _send(self, message: Message) -> None:
        self._sent += 1
        self._unconfirmed[self._sent] = message.task_id
        self._channel.basic_publish(
            exchange="",
            routing_key=self._queue.name,
            body=encode(message.task_id),
            mandatory=True,
            properties=pika.BasicProperties(
                content_type="application/json",
                delivery_mode=pika.DeliveryMode.Persistent,
                message_id=message.task_id,
                priority=MESSAGE_PRIORITY.get(message.priority, MESSAGE_PRIORITY[DEFAULT_PRIORITY]),
                headers=message.headers(),
            ),
        )

    def _turn_until(self, done: Callable[[], bool], seconds: float) -> None:
        """Turn the loop until ``done``, time is out or the connection failed."""
        self._turn(lambda: done() or self._failure is not None, seconds)

    def _turn(self, done: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        # Without a timer of ours the loop would sleep for up to five seconds.
        timer = self._loop.call_later(seconds, lambda: None)
        try:
            while not done() and time.monotonic() < deadline:
                self._step()
        finally:
            self._loop.remove_timeout(timer)

    def _step(self) -> None:
        """Send and receive once, or wait for the next timer."""
        self._connection.send_written()
        self._loop.poll()
        self._loop.process_timeouts()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise BrokerError(self._failure)

    def _opened(self, channel: Any) -> None:
        channel.add_on_close_callback(lambda _channel, reason: self._fail(reason))
        channel.add_on_return_callback(self._on_return)
        channel.queue_declare(DEAD_QUEUE, durable=True)
        channel.queue_declare(
            self._queue.name,
            durable=True,
            arguments=self._queue.arguments,
            callback=lambda _frame: channel.confirm_delivery(
                self._on_confirm, callback=lambda _frame: self._ready(channel)
            ),
        )

    def _ready(self, channel: Any) -> None:
        self._channel = channel

    def _on_return(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        self._returned.add(properties.message_id)

    def _on_confirm(self, frame: Any) -> None:
        method, tag = frame.method, frame.method.delivery_tag
        positive = method.NAME == "Basic.Ack"
        tags = [sent for sent in self._unconfirmed if sent <= tag] if method.multiple else [tag]
        for sent in tags:
            task_id = self._unconfirmed.pop(sent, None)
            if positive and task_id is not None:
                self._confirmed.add(task_id)

    def _fail(self, reason: object) -> None:
        self._failure = self._failure or str(reason) or type(reason).__name__
