"""Writes the tasks that tell of others, in the transaction that makes those final."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, select

from src.store.tables import OUTBOX, TASKS
from src.webhooks import webhook_of


def write_webhooks(
    connection: Connection, task_ids: Sequence[str], instant: datetime, *, use_outbox: bool
) -> None:
    """Store a webhook for each of these tasks, which are final by now and ask for one.

    A relay's next sweep sends the messages.
    """
    if not task_ids:
        return
    rows = []
    for task in connection.execute(select(TASKS).where(TASKS.c.id.in_(sorted(task_ids)))):
        row = webhook_of(dict(task._mapping), instant)
        # The column has a name of its own in the table's mapping.
        rows.append({**row, "details": row.pop("metadata")})
    connection.execute(insert(TASKS), rows)
    if use_outbox:
        promises = [{"task_id": r["id"], "due_at": instant, "handed": False} for r in rows]
        connection.execute(insert(OUTBOX), promises)
