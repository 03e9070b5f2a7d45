"""The way of a plain submission: around the framework, since there are so many of them."""

from collections.abc import Callable

from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from src.api.access import submitted_by
from src.api.answers import ASK_AGAIN_SECONDS
from src.api.schemas import SubmitTask, TaskSubmitted
from src.services.runtime import Runtime

PATH = "/api/tasks"
#: With one of these a submission is no plain one.
_OPTIONS = frozenset({b"idempotency-key", b"prefer"})


class ShortWay:
    """Takes submissions with a valid body and no option in headers or query.

    The framework looks for a route, for each parameter of each dependency, and wraps what it
    sends: a third of a submission's CPU (``./dev bench``). It answers everything else, errors of
    the body included, and documents the whole; a test compares the two ways.
    """

    def __init__(self, framework: ASGIApp, runtime: Callable[[], Runtime]) -> None:
        """``framework`` is what stands inside of the handlers of exceptions: ours pass them, too.

        The body must have been read by ``BodyLimit``.
        """
        self._framework = framework
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = _plain_submission(scope)
        if task is None:
            await self._framework(scope, receive, send)
            return
        stored = await self._runtime().tasks.submit(task.wish(submitted_by(scope)))
        body = TaskSubmitted(task_id=stored.task_id).model_dump_json().encode()
        headers = [
            (b"location", f"{PATH}/{stored.task_id}".encode()),
            (b"retry-after", ASK_AGAIN_SECONDS.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"content-type", b"application/json"),
        ]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _plain_submission(scope: Scope) -> SubmitTask | None:
    if (
        scope["type"] != "http"
        or scope["path"] != PATH
        or scope["method"] != "POST"
        or scope["query_string"]
        or scope.get("root_path")
    ):
        return None
    headers = dict(scope["headers"])
    if headers.get(b"content-type") != b"application/json" or not _OPTIONS.isdisjoint(headers):
        return None
    try:
        return SubmitTask.model_validate_json(scope["state"]["body"])
    except ValidationError:
        return None
