"""FastAPI and Celery: late acks, confirmed messages, no result backend."""

# mypy: disallow-untyped-decorators=False
import os

from celery import Celery  # type: ignore[import-not-found,unused-ignore]

from bench.peers.http_api import NewTask, make_api
from bench.peers.table import insert_task, work_on

app = Celery("bench", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    broker_transport_options={"confirm_publish": True},
)


@app.task(name="run_task")
def run_task(task_id: str) -> None:
    work_on(task_id)


def submit(task: NewTask) -> str:
    task_id = insert_task(task)
    run_task.delay(task_id)
    return task_id


api = make_api(submit)
