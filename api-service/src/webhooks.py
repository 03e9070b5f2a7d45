"""What the two services agree on about webhooks: what is told, to whom, and under which id.

The same file, byte for byte, lies in both services; it uses the standard library only. Whoever
makes a task final writes another one of the type ``webhook`` in the same transaction; a worker
sends it. The form is that of Standard Webhooks (standardwebhooks.com).
"""

import base64
import binascii
import os
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

#: Tasks of this type are made by the queue alone, and left out of lists and counts.
WEBHOOK_TYPE = "webhook"
SECRET_PREFIX = "whsec_"  # noqa: S105 - how secrets begin
#: Bytes of a secret; those that are signed with at once, while one replaces the other.
SECRET_BYTES, MAX_SECRETS = range(24, 65), 2
TITLE_CHARACTERS = 255
_PRIORITY_NAMES = {0: "high", 1: "normal", 2: "low"}


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """Read one secret or two, commas or spaces between: ``whsec_``, 24 to 64 bytes in Base64.

    Raises:
        ValueError: it is something else; never says what.
    """
    secrets = tuple(_parse_secret(written) for written in text.replace(",", " ").split())
    if not 1 <= len(secrets) <= MAX_SECRETS:
        raise ValueError(f"expected 1 or 2 secrets, found {len(secrets)}")
    return secrets


def _parse_secret(written: str) -> bytes:
    try:
        secret = base64.b64decode(written.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not written.startswith(SECRET_PREFIX) or len(secret) not in SECRET_BYTES:
        raise ValueError(f"expected {SECRET_PREFIX} and 24 to 64 random bytes as Base64")
    return secret


def webhook_of(task: Mapping[str, Any], instant: datetime) -> dict[str, Any]:
    """Return the row of a task that tells of another one, which is final and has a callback_url.

    ``task``: its columns by name, as they are now. ``instant``: now, by the database's clock.
    """
    event = {
        "type": f"task.{task['status'].lower()}",
        "timestamp": _precise(task["completed_at"]),
        "data": shown(task),
    }
    return {
        "id": new_id(),
        "title": f"Webhook: {task['title']}"[:TITLE_CHARACTERS],
        "description": f"Tells that the task {task['id']} is {task['status']}.",
        "status": "PENDING",
        "metadata": {"url": task["callback_url"], "id": message_id(task), "event": event},
        "created_at": instant,
        "updated_at": instant,
        "type": WEBHOOK_TYPE,
        "priority": task["priority"],
        "run_at": instant,
        "attempt": 0,
        "errors": 0,
        "crashes": 0,
        "cancel_requested": False,
        "submitted_by": task["submitted_by"],
    }


def message_id(task: Mapping[str, Any]) -> str:
    """Return the ``webhook-id``: the same for this end of the task, however often it is sent."""
    ended = task["completed_at"].replace(tzinfo=UTC)
    return f"{task['id']}-{round(ended.timestamp() * 1000)}"


def shown(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task as ``GET /api/tasks/{task_id}`` shows it; a test of the API compares."""
    started = task["started_at"]
    return {
        "task_id": task["id"],
        "title": task["title"],
        "description": task["description"],
        "status": str(task["status"]),
        "metadata": task["metadata"],
        "created_at": _plain(task["created_at"]),
        "updated_at": _plain(task["updated_at"]),
        "completed_at": _plain(task["completed_at"]),
        "type": task["type"],
        "priority": _PRIORITY_NAMES[task["priority"]],
        "attempt": task["attempt"],
        "errors": task["errors"],
        "crashes": task["crashes"],
        "max_attempts": task["max_attempts"],
        "timeout_seconds": task["timeout_seconds"],
        "run_at": _precise(task["run_at"]),
        "started_at": _precise(started) if started else None,
        "wait_ms": _between(task["run_at"], started),
        "duration_ms": _between(started, task["completed_at"]),
        "worker": task["worker_id"],
        "progress": task["progress"],
        "progress_note": task["progress_note"],
        "error": task["error"],
        "submitted_by": task["submitted_by"],
        "callback_url": task["callback_url"],
        "result": task["result"],
    }


def new_id() -> str:
    """Make a UUIDv7 (RFC 9562): ids of tasks are in the order of their making."""
    random = int.from_bytes(os.urandom(10), "big")
    number = time.time_ns() // 1_000_000 << 80 | random
    number = number & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=number & ~(0x3 << 62) | 0x2 << 62))


def _plain(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S")


def _precise(at: datetime) -> str:
    return at.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _between(begin: datetime | None, end: datetime | None) -> int | None:
    return None if begin is None or end is None else round((end - begin).total_seconds() * 1000)
