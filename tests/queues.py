"""The queues as somebody with an AMQP client sees them."""

import json
from typing import Any, Self

import pika

QUEUE = "tasks.classic"
DEAD = "tasks.dead"


class Queues:
    """A connection for one test."""

    def __init__(self, url: str) -> None:
        self._connection: Any = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def publish(self, body: bytes, priority: int = 4) -> None:
        properties = pika.BasicProperties(priority=priority)
        self._channel.basic_publish("", QUEUE, body, properties)

    def publish_task(self, task_id: str) -> None:
        self.publish(json.dumps({"task_id": task_id}).encode())

    def ready(self, queue: str = QUEUE) -> int:
        """Count the messages that are delivered to nobody."""
        count: int = self._channel.queue_declare(queue, passive=True).method.message_count
        return count

    def delete(self) -> None:
        self._channel.queue_delete(QUEUE)
