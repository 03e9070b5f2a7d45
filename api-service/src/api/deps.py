"""What routes ask for in their signatures. All ``async``: a plain function costs a thread."""

from typing import Annotated

from fastapi import Depends, Header, Path, Request

from src.api.problems import Problem, refused
from src.api.schemas import TASK_ID
from src.contract import parse_task_id
from src.services.errors import TaskNotFound
from src.services.runtime import Runtime

MAX_KEY = 255


async def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime()
    return runtime


async def _require_json(request: Request) -> None:
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise Problem(
            415, "Send the body as JSON, with the header 'Content-Type: application/json'."
        )


async def _task_id(
    task_id: Annotated[str, Path(description="As the submission returned it", examples=[TASK_ID])],
) -> str:
    """Return the id as it is stored; what is no UUID is no task's, and no question to the table."""
    known_form = parse_task_id(task_id)
    if known_form is None:
        raise TaskNotFound
    return known_form


async def _idempotency_key(
    idempotency_key: Annotated[
        str | None,
        Header(
            description=(
                "A key of yours, up to 255 characters, quoted or not: the same request again, with "
                "the same key, submits no second task and gets the same answer"
            ),
            examples=['"8e03978e-40d5-43e8-bc93-6894a57f9324"'],
        ),
    ] = None,
) -> str | None:
    """Return the key without its quotes: printable ASCII, no spaces at the ends."""
    if idempotency_key is None:
        return None
    key = idempotency_key.strip()
    if len(key) >= 2 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    is_plain = key.isascii() and key.isprintable() and key == key.strip()
    if not is_plain or not 0 < len(key) <= MAX_KEY:
        message = f"must be 1 to {MAX_KEY} printable ASCII characters without spaces at the ends"
        raise refused([{"field": "Idempotency-Key", "message": message}])
    return key


TaskId = Annotated[str, Depends(_task_id)]
RuntimeDep = Annotated[Runtime, Depends(_runtime)]
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
JsonBody = Depends(_require_json)
