"""Tells of a final task once more, on request."""

from sqlalchemy import Connection

from src.contract import FINAL
from src.db.dialect import now
from src.services.errors import NothingToTell, TaskNotFound
from src.services.transitions import find_all
from src.services.webhooks import write_webhooks


def send_again(connection: Connection, task_id: str, *, promise_delivery: bool) -> str:
    """Store another webhook for a task; return its id. The receiver gets the same ``webhook-id``.

    Raises:
        TaskNotFound: no row has this id.
        NothingToTell: it is not final, or has no callback_url.
    """
    rows = find_all(connection, [task_id], lock=True)
    if not rows:
        raise TaskNotFound
    row = dict(rows[task_id])
    if not row["callback_url"]:
        raise NothingToTell("It was submitted without a callback_url; nobody is to be told.")
    if row["status"] not in FINAL:
        raise NothingToTell(f"It is {row['status']}: its webhook is sent when it is final.")
    instant = now(connection)
    [sent] = write_webhooks(connection, [row], instant, promise_delivery=promise_delivery)
    return sent
