"""What the two services agree on besides ``db/init.sql``: statuses, priorities, message, queues.

The same file, byte for byte, lies in both services; it uses the standard library only.
Readers come before writers: unknown keys of a message are ignored, new ones are optional.
"""

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


#: Nothing but the retry request takes a task out of one of these.
FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

#: The type of a task that names none.
DEFAULT_TYPE = "simulate"

#: As written by clients -> as stored; the smaller runs first.
PRIORITIES = {"high": 0, "normal": 1, "low": 2}
DEFAULT_PRIORITY = PRIORITIES["normal"]

#: As stored -> the AMQP property. Below 5 and above 4: on a quorum queue of
#: RabbitMQ 4.0 to 4.2, which knows two levels only, "high" still goes first.
MESSAGE_PRIORITY = {0: 8, 1: 4, 2: 1}

DEAD_QUEUE = "tasks.dead"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class MalformedMessage(ValueError):
    """The body of a delivery names no task."""


@dataclass(frozen=True)
class Queue:
    """A durable queue as both services declare it; a difference is a 406 from the broker."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


def task_queue(queue_type: str) -> Queue:
    """Describe the queue of that type, ``classic`` or ``quorum``.

    The name carries the type, since the arguments of an existing queue cannot be changed.
    """
    # The default of 20 would dead-letter good messages after 21 lost connections.
    own = {"classic": {"x-max-priority": 10}, "quorum": {"x-delivery-limit": 1_000_000}}
    dead_letter = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD_QUEUE}
    return Queue(
        f"tasks.{queue_type}", {"x-queue-type": queue_type, **own[queue_type], **dead_letter}
    )


def parse_task_id(text: str) -> str | None:
    """Return the id in its stored, lower-case spelling, or None for what is no UUID."""
    lowered = text.lower()
    return lowered if _UUID.fullmatch(lowered) else None


def encode(task_id: str) -> bytes:
    """Write the message that promises this task's next attempt."""
    return json.dumps({"task_id": task_id}).encode()


def decode(body: bytes) -> str:
    """Read a task's id from a message.

    Raises:
        MalformedMessage: it is not ``{"task_id": "<uuid>"}``; the text says what it is instead.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage("not JSON") from error
    if not isinstance(message, dict):
        raise MalformedMessage(f"expected an object, found {type(message).__name__}")
    raw = message.get("task_id")
    task_id = parse_task_id(raw) if isinstance(raw, str) else None
    if task_id is None:
        raise MalformedMessage("task_id is missing or no UUID")
    return task_id
