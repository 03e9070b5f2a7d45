"""Changes as server-sent events. States may be skipped; none comes after a later one."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import RowMapping
from starlette.concurrency import run_in_threadpool

from src.api.deps import RuntimeDep, TaskId
from src.api.openapi import EVENTS, problems
from src.api.problems import unavailable
from src.api.schemas import TASK_ID
from src.api.values import ABSENT
from src.api.views import TaskSummary, TaskView
from src.services.watcher import Watch, Watcher, WatchesExhausted

router = APIRouter(prefix="/api", tags=["events"])

#: Milliseconds after which a client that lost its stream comes again.
RETRY_MS = 2_000


async def _task_watch(
    task_id: TaskId, request: Request, runtime: RuntimeDep
) -> AsyncIterator[Watch]:
    """Open a watch before the answer begins, so that errors are answers of their own."""
    await run_in_threadpool(runtime.tasks.get, task_id)
    watch = _open(request, runtime.watcher, Watch(task_id))
    try:
        yield watch
    finally:
        runtime.watcher.close_watch(watch)


async def _watch(
    request: Request,
    runtime: RuntimeDep,
    last_event_id: Annotated[
        str,
        Header(
            alias="Last-Event-ID",
            description="The `id` of the last event that was received; browsers send it",
        ),
    ] = ABSENT,
) -> AsyncIterator[Watch]:
    watch = _open(request, runtime.watcher, Watch(None, since=_instant(last_event_id)))
    try:
        yield watch
    finally:
        runtime.watcher.close_watch(watch)


def _open(request: Request, watcher: Watcher, watch: Watch) -> Watch:
    try:
        watcher.open(watch)
    except WatchesExhausted:
        raise unavailable(
            "Too many clients wait or follow already, or this process stops; connect again shortly."
        ) from None
    # A stream takes no part of what the service does at a time.
    request.state.give_way()
    return watch


@router.get(
    "/tasks/{task_id}/events",
    operation_id="watchTask",
    summary="Follow a task",
    response_class=EventSourceResponse,
    responses={200: EVENTS, **problems(404, 500, 503, path=f"/api/tasks/{TASK_ID}/events")},
)
async def watch_task(
    watch: Annotated[Watch, Depends(_task_watch)],
) -> AsyncIterator[ServerSentEvent]:
    """Send the task as it is, then after each change, progress included, until it is final.

    Events: `task` (as `GET /api/tasks/{task_id}`), and at last `end` with its `reason`. Swagger UI
    shows them when the stream has ended; `curl -N` as they come.
    """
    async for event in _follow(watch, TaskView):
        yield event


@router.get(
    "/events",
    operation_id="watchTasks",
    summary="Follow all tasks",
    response_class=EventSourceResponse,
    responses={200: EVENTS, **problems(500, 503, path="/api/events")},
)
async def watch_tasks(watch: Annotated[Watch, Depends(_watch)]) -> AsyncIterator[ServerSentEvent]:
    """Send the newest tasks, then the latest state of every task that changes.

    Events: `snapshot` with the 50 newest tasks, `task` for each change (as in the list), and `end`
    with its `reason`. With `Last-Event-ID`, which browsers send by themselves, of up to ten minutes
    ago it goes on from there without a snapshot, and may repeat some. Swagger UI cannot show a
    stream that does not end: use `curl -N http://localhost:8000/api/events`.
    """
    async for event in _follow(watch, TaskSummary):
        yield event


async def _follow(
    watch: Watch, view: type[TaskSummary] | type[TaskView]
) -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(comment="connected", retry=RETRY_MS)
    while True:
        await watch.changed()
        at = _event_id(watch.read_at)
        if watch.snapshot is not None:
            newest, watch.snapshot = watch.snapshot, None
            tasks = [view.of(row).model_dump(mode="json") for row in newest]
            yield ServerSentEvent(event="snapshot", data={"tasks": tasks}, id=at)
        rows, watch.pending = list(watch.pending.values()), {}
        for row in rows:
            # With the last one: a client that is cut off before has not seen all up to here.
            is_last = row is rows[-1]
            yield ServerSentEvent(
                event="task", raw_data=_written(view, row), id=at if is_last else None
            )
        if watch.ended:
            yield ServerSentEvent(event="end", data={"reason": watch.ended})
            return


def _written(view: type[TaskSummary] | type[TaskView], row: RowMapping) -> Any:
    return view.of(row).model_dump_json()


def _event_id(at: datetime | None) -> str | None:
    return str(int(at.replace(tzinfo=UTC).timestamp() * 1000)) if at else None


def _instant(event_id: str | None) -> datetime | None:
    """Return the time in an event's id; what is none is no reason to refuse a browser."""
    if not (event_id and event_id.isascii() and event_id.isdecimal() and len(event_id) < 15):
        return None
    return datetime.fromtimestamp(int(event_id) / 1000, UTC).replace(tzinfo=None)
