"""What routes ask for in their signatures."""

from typing import Annotated

from fastapi import Depends, Path, Request

from src.api.problems import Problem
from src.api.schemas import TASK_ID
from src.contract import parse_task_id
from src.services.errors import TaskNotFound
from src.services.runtime import Runtime


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime()
    return runtime


def _require_json(request: Request) -> None:
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise Problem(
            415, "Send the body as JSON, with the header 'Content-Type: application/json'."
        )


def _task_id(
    task_id: Annotated[str, Path(description="As the submission returned it", examples=[TASK_ID])],
) -> str:
    """Return the id as it is stored; what is no UUID is no task's, and no question to the table."""
    known_form = parse_task_id(task_id)
    if known_form is None:
        raise TaskNotFound
    return known_form


TaskId = Annotated[str, Depends(_task_id)]
RuntimeDep = Annotated[Runtime, Depends(_runtime)]
JsonBody = Depends(_require_json)
