"""Submitting a task, asking how far it is, cancelling it."""

from fastapi import APIRouter, Response

from src.api.deps import JsonBody, RuntimeDep, TaskId
from src.api.openapi import SUBMITTED_HEADERS, TASK_HEADERS, problems
from src.api.schemas import TASK_ID, SubmitTask, TaskSubmitted, TaskView
from src.contract import FINAL

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
    task_id = runtime.tasks.submit(task.wish())
    response.headers["Location"] = f"/api/tasks/{task_id}"
    response.headers["Retry-After"] = ASK_AGAIN_SECONDS
    return TaskSubmitted(task_id=task_id)


@router.get(
    "/{task_id}",
    operation_id="getTask",
    summary="Get a task",
    response_description="The task; with Retry-After while it is not final",
    responses={200: TASK_HEADERS, **problems(404, 500, 503, path=f"/api/tasks/{TASK_ID}")},
)
def get_task(
    task_id: TaskId,
    response: Response,
    runtime: RuntimeDep,
) -> TaskView:
    """Tell how far a task is and what came of it."""
    task = TaskView.of(runtime.tasks.get(task_id))
    if task.status not in FINAL:
        response.headers["Retry-After"] = ASK_AGAIN_SECONDS
    return task


@router.post(
    "/{task_id}/cancel",
    operation_id="cancelTask",
    summary="Cancel a task",
    response_description="The task is CANCELLED",
    responses={
        202: {
            "model": TaskView,
            "description": "It runs: its worker is told to stop it, within seconds",
            **TASK_HEADERS,
        },
        **problems(404, 409, 500, 503, path=f"/api/tasks/{TASK_ID}/cancel"),
    },
)
def cancel_task(task_id: TaskId, response: Response, runtime: RuntimeDep) -> TaskView:
    """Make sure that a task is not run, or not to its end.

    A task that waits is CANCELLED at once. One that runs becomes so within a heartbeat of its
    worker, unless it is COMPLETED first. Asking again changes nothing.
    """
    task = TaskView.of(runtime.tasks.cancel(task_id))
    if task.status not in FINAL:
        response.status_code = 202
        response.headers["Retry-After"] = ASK_AGAIN_SECONDS
    return task
