"""Submitting a task and asking how far it is."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from src.api.deps import JsonBody, RuntimeDep
from src.api.openapi import SUBMITTED_HEADERS, TASK_HEADERS, problems
from src.api.schemas import TASK_ID, SubmitTask, TaskSubmitted, TaskView
from src.contract import FINAL, parse_task_id
from src.services.errors import TaskNotFound

router = APIRouter(prefix="/api/tasks", tags=["tasks"])

#: Seconds after which it is worth asking again how far a task is.
ASK_AGAIN_SECONDS = "1"


@router.post(
    "",
    status_code=202,
    operation_id="submitTask",
    summary="Submit a task",
    dependencies=[JsonBody],
    response_description="Stored: it will be run",
    responses={202: SUBMITTED_HEADERS, **problems(400, 408, 413, 415, 500, 503)},
)
def submit_task(task: SubmitTask, response: Response, runtime: RuntimeDep) -> TaskSubmitted:
    """Store a task. Once you have the 202 it will be run, whatever dies."""
    task_id = runtime.tasks.submit(task.title, task.description, task.metadata)
    response.headers["Location"] = f"/api/tasks/{task_id}"
    response.headers["Retry-After"] = ASK_AGAIN_SECONDS
    return TaskSubmitted(task_id=task_id)


@router.get(
    "/{task_id}",
    operation_id="getTask",
    summary="Get a task",
    response_description="The task; with Retry-After while it is not final",
    responses={200: TASK_HEADERS, **problems(404, 500, 503)},
)
def get_task(
    task_id: Annotated[str, Path(description="As the submission returned it", examples=[TASK_ID])],
    response: Response,
    runtime: RuntimeDep,
) -> TaskView:
    """Tell how far a task is and what came of it."""
    known_form = parse_task_id(task_id)
    if known_form is None:
        raise TaskNotFound
    task = TaskView.of(runtime.tasks.get(known_form))
    if task.status not in FINAL:
        response.headers["Retry-After"] = ASK_AGAIN_SECONDS
    return task
