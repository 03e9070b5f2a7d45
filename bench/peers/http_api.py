"""The HTTP contract that all peers serve; what a submission does is theirs."""

import logging
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field


class NewTask(BaseModel):
    title: str = Field(min_length=1, max_length=255)
    description: str = Field(min_length=1)
    metadata: dict[str, Any] | None = None


class Accepted(BaseModel):
    task_id: str
    message: str = "Task submitted successfully"


def make_api(submit: Callable[[NewTask], str]) -> FastAPI:
    """Make the API; ``submit`` stores a task, sends its message and returns its id."""
    logging.basicConfig(level=logging.INFO)
    api = FastAPI()

    @api.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @api.post("/api/tasks", status_code=202)
    def create_task(task: NewTask) -> Accepted:
        return Accepted(task_id=submit(task))

    return api
