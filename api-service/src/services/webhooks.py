"""Writes the tasks that tell of others, in the transaction that makes those final."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from src.models.tables import Outbox, Task
from src.webhooks import webhook_of


def write_webhooks(
    connection: Connection,
    tasks: Iterable[Mapping[str, Any]],
    instant: datetime,
    *,
    promise_delivery: bool,
) -> list[str]:
    """Store a webhook for each of these final tasks that asks for one; return their ids.

    ``tasks``: their rows as they are now. The relay's next sweep sends the messages.
    """
    rows = [webhook_of(task, instant) for task in tasks if task["callback_url"]]
    if rows:
        connection.execute(insert(Task), rows)
    if rows and promise_delivery:
        due = [{"task_id": row["id"], "due_at": instant, "handed": False} for row in rows]
        connection.execute(insert(Outbox), due)
    return [row["id"] for row in rows]
