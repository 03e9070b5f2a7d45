"""What tutorials show: an ORM session and a connection to the broker for each request.

python -m bench.peers.typical_app      (the worker: one task at a time)
"""

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pika
from sqlalchemy import JSON, String, Text, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from bench.peers.http_api import NewTask, make_api

QUEUE = "tasks"
log = logging.getLogger(__name__)
engine = create_engine(os.environ["DATABASE_URL"], pool_size=40, max_overflow=0)
parameters = pika.URLParameters(os.environ["BROKER_URL"])


class Base(DeclarativeBase):
    pass


class Task(Base):
    __tablename__ = "tasks"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    title: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(10), default="PENDING")
    details: Mapped[Any] = mapped_column("metadata", JSON, nullable=True)
    completed_at: Mapped[datetime | None]


def submit(task: NewTask) -> str:
    with Session(engine) as session:
        row = Task(
            id=str(uuid4()),
            title=task.title,
            description=task.description,
            details=task.metadata,
        )
        session.add(row)
        session.commit()
        task_id = row.id
    publish(task_id)
    return task_id


def publish(task_id: str) -> None:
    connection = pika.BlockingConnection(parameters)
    try:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True)
        channel.confirm_delivery()
        channel.basic_publish(
            exchange="",
            routing_key=QUEUE,
            body=json.dumps({"task_id": task_id}).encode(),
            properties=pika.BasicProperties(delivery_mode=2),
            mandatory=True,
        )
    finally:
        connection.close()


def on_message(channel: Any, method: Any, _properties: Any, body: bytes) -> None:
    with Session(engine) as session:
        task = session.get_one(Task, json.loads(body)["task_id"])
        task.status = "PROCESSING"
        session.commit()
        task.status = "COMPLETED"
        task.completed_at = datetime.now(UTC)
        session.commit()
        log.info("task %s completed", task.id)
    channel.basic_ack(method.delivery_tag)


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("pika").setLevel(logging.WARNING)
    channel = pika.BlockingConnection(parameters).channel()
    channel.queue_declare(QUEUE, durable=True)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(QUEUE, on_message)
    channel.start_consuming()


if __name__ == "__main__":
    main()
else:
    api = make_api(submit)
