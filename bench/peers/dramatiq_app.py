"""FastAPI and Dramatiq on RabbitMQ with confirmed deliveries; it acks late by itself."""

# mypy: disallow-untyped-decorators=False
import os

import dramatiq  # type: ignore[import-not-found,unused-ignore]
from dramatiq.brokers.rabbitmq import (  # type: ignore[import-not-found,unused-ignore]
    RabbitmqBroker,
)

from bench.peers.http_api import NewTask, make_api
from bench.peers.table import insert_task, work_on

broker = RabbitmqBroker(url=os.environ["BROKER_URL"], confirm_delivery=True)
dramatiq.set_broker(broker)


@dramatiq.actor
def run_task(task_id: str) -> None:
    work_on(task_id)


def submit(task: NewTask) -> str:
    task_id = insert_task(task)
    run_task.send(task_id)
    return task_id


api = make_api(submit)
