"""Submitting tasks, looking one up, listing them."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from src.api.access import submitted_by
from src.api.answers import ASK_AGAIN_SECONDS, task_answer, written
from src.api.deps import IdempotencyKey, JsonBody, RuntimeDep, TaskId
from src.api.openapi import (
    FINISHED_HEADERS,
    LIST_HEADERS,
    SUBMITTED_HEADERS,
    TASK_HEADERS,
    WAITED_HEADERS,
    problems,
)
from src.api.problems import refused
from src.api.queries import ListQuery, decode_cursor, encode_cursor
from src.api.schemas import TASK_ID, BatchSubmitted, SubmitBatch, SubmitTask, TaskSubmitted
from src.api.values import ABSENT
from src.api.views import AttemptList, TaskList, TaskView
from src.api.waiting import WaitDep, until_final
from src.contract import FINAL

router = APIRouter(prefix="/api/tasks", tags=["tasks"])


@router.post(
    "",
    status_code=202,
    operation_id="submitTask",
    summary="Submit a task",
    dependencies=[JsonBody],
    response_model=TaskSubmitted,
    response_description="Stored: it will be run",
    responses={
        200: {
            "model": TaskView,
            "description": "Only with `wait` or `Prefer: wait=N`: the task, final in time",
            **FINISHED_HEADERS,
        },
        202: SUBMITTED_HEADERS,
        **problems(400, 408, 413, 415, 422, 500, 503),
    },
)
async def submit_task(
    task: SubmitTask, key: IdempotencyKey, wait: WaitDep, request: Request, runtime: RuntimeDep
) -> Response:
    """Store a task. Once you have the 202 it will be run, whatever dies."""
    wish = task.wish(submitted_by(request.scope))
    stored = await runtime.tasks.submit(wish, task.repeatable(key) if key else None)
    task_id = stored.task_id
    headers = {"Location": f"/api/tasks/{task_id}"}
    if stored.replayed:
        headers["Idempotency-Replayed"] = "true"
    if wait.seconds:
        row = await until_final(request, runtime, task_id, wait)
        headers |= wait.applied()
        if row is not None:
            return task_answer(TaskView.of(row), headers=headers)
    return written(
        TaskSubmitted(task_id=task_id), 202, {**headers, "Retry-After": ASK_AGAIN_SECONDS}
    )


@router.post(
    "/batch",
    status_code=202,
    operation_id="submitTasks",
    summary="Submit many tasks, all or none",
    dependencies=[JsonBody],
    response_model=BatchSubmitted,
    response_description="Stored: they will be run",
    responses=problems(400, 408, 413, 415, 500, 503, path="/api/tasks/batch"),
)
async def submit_tasks(batch: SubmitBatch, request: Request, runtime: RuntimeDep) -> Response:
    """Store up to 1,000 tasks in one transaction. If one of them is invalid none is stored."""
    if "idempotency-key" in request.headers:
        message = "is for single submissions; send them one by one, or the batch without it"
        raise refused([{"field": "Idempotency-Key", "message": message}])
    wishes = [task.wish(submitted_by(request.scope)) for task in batch.tasks]
    task_ids = await run_in_threadpool(runtime.tasks.submit_all, wishes)
    plural = "" if len(task_ids) == 1 else "s"
    message = f"{len(task_ids)} task{plural} submitted successfully"
    return written(BatchSubmitted(task_ids=task_ids, message=message), 202)


@router.get(
    "",
    operation_id="listTasks",
    summary="List tasks, newest first",
    response_model=TaskList,
    response_description="A page; follow `next`, or the header `Link`",
    responses={
        200: LIST_HEADERS,
        **problems(
            *(400, 500, 503), details={400: "limit: Input should be less than or equal to 200"}
        ),
    },
)
async def list_tasks(
    query: Annotated[ListQuery, Query()], request: Request, runtime: RuntimeDep
) -> Response:
    """List tasks without their long fields. Filters can be combined."""
    before = decode_cursor(query.cursor) if query.cursor else None
    page = await run_in_threadpool(runtime.tasks.list, query.filter(), before, query.limit)
    cursor = page.next_before and encode_cursor(page.next_before)
    headers = {}
    if cursor:
        following = request.url.include_query_params(cursor=cursor)
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return written(TaskList.of(page, cursor), headers=headers)


@router.get(
    "/{task_id}",
    operation_id="getTask",
    summary="Get a task, or wait for its end",
    response_model=TaskView,
    response_description="The task; with Retry-After while it is not final",
    responses={
        200: WAITED_HEADERS,
        304: {"description": "It is as `If-None-Match` says", **TASK_HEADERS},
        **problems(
            *(400, 404, 500, 503),
            path=f"/api/tasks/{TASK_ID}",
            details={400: "wait: Input should be less than or equal to 60"},
        ),
    },
)
async def get_task(
    task_id: TaskId,
    wait: WaitDep,
    request: Request,
    runtime: RuntimeDep,
    _known: Annotated[
        str, Header(alias="If-None-Match", description="The `ETag` of an earlier answer")
    ] = ABSENT,
) -> Response:
    """Tell how far a task is and what came of it."""
    row: Any = await run_in_threadpool(runtime.tasks.get, task_id)
    if wait.seconds and row["status"] not in FINAL:
        row = await until_final(request, runtime, task_id, wait)
        row = row or await run_in_threadpool(runtime.tasks.get, task_id)
    headers = wait.applied() if wait.seconds else {}
    return task_answer(TaskView.of(row), headers=headers, request=request)


@router.get(
    "/{task_id}/attempts",
    operation_id="listAttempts",
    summary="List a task's attempts",
    response_description="Its attempts, the first one first",
    response_model=AttemptList,
    responses=problems(404, 500, 503, path=f"/api/tasks/{TASK_ID}/attempts"),
)
async def list_attempts(task_id: TaskId, runtime: RuntimeDep) -> Response:
    """Tell of every execution: who, when, and why it did not succeed."""
    return written(AttemptList.of(await run_in_threadpool(runtime.tasks.ledger, task_id)))
