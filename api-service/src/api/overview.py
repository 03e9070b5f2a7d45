"""Looking at the whole, and into one task's fate."""

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from src.api.answers import written
from src.api.deps import RuntimeDep, TaskId
from src.api.openapi import problems
from src.api.overviews import Explanation, Part, Stats, TypeList, WorkerList
from src.api.schemas import TASK_ID
from src.api.values import precise

router = APIRouter(prefix="/api", tags=["overview"])


@router.get(
    "/tasks/{task_id}/explain",
    operation_id="explainTask",
    summary="Why is this task not finished?",
    response_description="Why, as a code and in words",
    response_model=Explanation,
    responses=problems(404, 500, 503, path=f"/api/tasks/{TASK_ID}/explain"),
)
async def explain_task(task_id: TaskId, runtime: RuntimeDep) -> Response:
    """Tell what a task waits for, in words and as a code."""
    reason = await run_in_threadpool(runtime.overview.explain, task_id, runtime.broker_state())
    return written(Explanation.of(task_id, reason))


@router.get(
    "/stats",
    operation_id="getStats",
    summary="The whole in numbers",
    response_description="The numbers now",
    response_model=Stats,
    responses=problems(500, 503, path="/api/stats"),
)
async def get_stats(runtime: RuntimeDep) -> Response:
    """Count tasks, tell how long they take and what went wrong lately. However many tasks there
    are, it takes the same time."""
    numbers = await run_in_threadpool(runtime.overview.statistics)
    since = runtime.broker_since()
    return written(
        Stats.of(
            numbers,
            Part(state="connected", since=precise(runtime.database.since())),
            Part(state=runtime.broker_state(), since=precise(since) if since else None),
        )
    )


@router.get(
    "/workers",
    operation_id="listWorkers",
    summary="Who works, and on what",
    response_description="The workers, by their start",
    response_model=WorkerList,
    responses=problems(500, 503, path="/api/workers"),
)
async def list_workers(runtime: RuntimeDep) -> Response:
    """List the worker processes. One that died stays in the list until another one has taken over
    its tasks."""
    return written(WorkerList.of(await run_in_threadpool(runtime.overview.workforce)))


@router.get(
    "/task-types",
    operation_id="listTaskTypes",
    summary="What can be submitted",
    response_description="The types, by name",
    response_model=TypeList,
    responses=problems(500, 503, path="/api/task-types"),
)
async def list_task_types(runtime: RuntimeDep) -> Response:
    """List what workers have told that they can run."""
    return written(TypeList.of(await run_in_threadpool(runtime.overview.types)))
