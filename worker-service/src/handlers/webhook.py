"""The type ``webhook``: tells a task's callback_url of its end, as Standard Webhooks has it."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, JsonValue

from src.handlers.context import Context
from src.handlers.declare import Handler
from src.handlers.errors import Permanent
from src.handlers.outgoing import come_again, send
from src.handlers.targets import Resolve, find_target, look_up
from src.hosts import AllowedHost
from src.webhooks import WEBHOOK_TYPE

#: Seconds for a receiver to say that it has it; the work belongs after its answer.
TIMEOUT_SECONDS = 20.0
GONE = 410


class Webhook(BaseModel):
    """Made by ``webhook_of``. ``id``: what the receiver knows it by."""

    url: str
    id: str
    event: dict[str, JsonValue]


def make_webhook(
    allowed: Sequence[AllowedHost],
    secrets: Sequence[bytes],
    retry_seconds: Sequence[float],
    resolve: Resolve = look_up,
) -> Handler:
    """Make the handler. ``secrets``: all are signed with, so that a receiver may have either."""

    async def webhook(webhook: Webhook, context: Context) -> dict[str, Any]:
        target = await find_target(webhook.url, allowed, resolve)
        body = json.dumps(webhook.event, ensure_ascii=False, separators=(",", ":")).encode()
        # The time of this attempt: receivers refuse what is older than some minutes.
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": webhook.id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(
                sign(secret, webhook.id, timestamp, body) for secret in secrets
            ),
            "X-Task-Attempt": str(context.attempt),
        }
        answer = await send(target, "POST", headers, body)
        if 200 <= answer.status < 300:
            return {"status": answer.status}
        told = f"the receiver {answer.describe()}"
        if answer.status == GONE:
            raise Permanent(f"{told}: it wants no more of this")
        # Anything else may be a receiver that is being mended.
        raise come_again(answer, told)

    return Handler(
        WEBHOOK_TYPE,
        webhook,
        payload=Webhook,
        description="Tells the callback_url of a task that it is final. Made by the queue itself.",
        max_attempts=len(retry_seconds) + 1,
        timeout_seconds=TIMEOUT_SECONDS,
        backoff=tuple(retry_seconds),
    )


def sign(secret: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature as the header has it: scheme ``v1``, HMAC-SHA256."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
