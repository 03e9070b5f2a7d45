"""What a client may do to tasks that are there."""

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from src.api.answers import task_answer, written
from src.api.deps import JsonBody, RuntimeDep, TaskId
from src.api.openapi import AGAIN_HEADERS, FINAL_HEADERS, SENT_HEADERS, TASK_HEADERS, problems
from src.api.problems import REFUSALS
from src.api.queries import BulkAction, BulkResult, decode_cursor, encode_cursor
from src.api.schemas import TASK_ID, WebhookSent
from src.api.views import TaskView
from src.contract import FINAL
from src.services.bulk import Tally
from src.services.transitions import Action

router = APIRouter(prefix="/api/tasks", tags=["actions"])


@router.post(
    "/{task_id}/cancel",
    operation_id="cancelTask",
    summary="Cancel a task",
    response_model=TaskView,
    response_description="The task is CANCELLED",
    responses={
        200: FINAL_HEADERS,
        202: {
            "model": TaskView,
            "description": "It runs: its worker is told to stop it, within seconds",
            **TASK_HEADERS,
        },
        **problems(404, 409, 500, 503, path=f"/api/tasks/{TASK_ID}/cancel"),
    },
)
async def cancel_task(task_id: TaskId, runtime: RuntimeDep) -> Response:
    """Make sure that a task is not run, or not to its end.

    A task that waits is CANCELLED at once. One that runs becomes so within a heartbeat of its
    worker, unless it is COMPLETED first. Asking again changes nothing. (To try it here, submit one
    with `"delay_seconds": 600`.)
    """
    task = TaskView.of(await run_in_threadpool(runtime.tasks.act, Action.CANCEL, task_id))
    return task_answer(task, 200 if task.status in FINAL else 202)


@router.post(
    "/{task_id}/retry",
    status_code=202,
    operation_id="retryTask",
    summary="Run a task again",
    response_model=TaskView,
    response_description="It is PENDING, and due",
    responses={
        202: AGAIN_HEADERS,
        **problems(
            *(404, 409, 500, 503),
            path=f"/api/tasks/{TASK_ID}/retry",
            details={409: REFUSALS[Action.RETRY].format(status="COMPLETED")},
        ),
    },
)
async def retry_task(task_id: TaskId, runtime: RuntimeDep) -> Response:
    """Begin a FAILED or CANCELLED task anew: its errors and crashes are forgotten, `attempt` goes
    on."""
    task = TaskView.of(await run_in_threadpool(runtime.tasks.act, Action.RETRY, task_id))
    return task_answer(task, 202, {"Location": f"/api/tasks/{task_id}"})


@router.post(
    "/{task_id}/webhook",
    status_code=202,
    operation_id="sendWebhook",
    summary="Send a task's webhook again",
    response_model=WebhookSent,
    response_description="It will be sent",
    responses={
        202: SENT_HEADERS,
        **problems(
            *(404, 409, 500, 503),
            path=f"/api/tasks/{TASK_ID}/webhook",
            details={409: "It was submitted without a callback_url; nobody is to be told."},
        ),
    },
)
async def send_webhook(task_id: TaskId, runtime: RuntimeDep) -> Response:
    """Tell the `callback_url` of a final task once more, under the same `webhook-id`."""
    sent = await run_in_threadpool(runtime.tasks.send_webhook, task_id)
    return written(WebhookSent(task_id=sent), 202, {"Location": f"/api/tasks/{sent}"})


@router.delete(
    "/{task_id}",
    status_code=204,
    operation_id="deleteTask",
    summary="Delete a task",
    response_description="It is gone, with its attempts",
    responses=problems(
        *(404, 409, 500, 503),
        path=f"/api/tasks/{TASK_ID}",
        details={409: REFUSALS[Action.DELETE].format(status="PROCESSING")},
    ),
)
async def delete_task(task_id: TaskId, runtime: RuntimeDep) -> Response:
    """Delete a task that does not run, whether it has been run or not."""
    await run_in_threadpool(runtime.tasks.act, Action.DELETE, task_id)
    return Response(None, 204)


@router.post(
    "/actions",
    operation_id="actOnTasks",
    summary="Cancel, retry or delete many tasks",
    dependencies=[JsonBody],
    response_model=BulkResult,
    response_description="How many it changed",
    responses=problems(
        *(400, 408, 413, 415, 500, 503),
        path="/api/tasks/actions",
        details={400: "filter.statu: unknown field; did you mean 'status'?"},
    ),
)
async def act_on_tasks(wanted: BulkAction, runtime: RuntimeDep) -> Response:
    """Act on the tasks that a filter leaves, or on those named, in batches of 200, each of which is
    done as a whole or not. One request acts on up to 10,000 tasks, for 5 s: with the `next` of its
    answer as `cursor` the same request goes on."""
    return written(_result(wanted, await run_in_threadpool(_act, wanted, runtime)))


def _act(wanted: BulkAction, runtime: RuntimeDep) -> Tally:
    if wanted.task_ids is not None:
        return runtime.bulk.act_on(wanted.action, wanted.task_ids, dry_run=wanted.dry_run)
    assert wanted.filter  # noqa: S101 - one of them is there
    before = decode_cursor(wanted.cursor) if wanted.cursor else None
    return runtime.bulk.act_where(
        wanted.action, wanted.filter.filter(), before, dry_run=wanted.dry_run
    )


def _result(wanted: BulkAction, tally: Tally) -> BulkResult:
    return BulkResult.model_validate(
        {
            "action": wanted.action,
            "dry_run": wanted.dry_run,
            "count": tally.changed,
            "skipped": {reason: count for reason, count in tally.skipped.items() if count},
            "next": encode_cursor(tally.next_before) if tally.next_before else None,
        }
    )
