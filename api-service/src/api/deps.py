"""What routes ask for in their signatures. All ``async``: a plain function costs a thread."""

import re
from typing import Annotated

from fastapi import Depends, Header, Path, Request

from src.api.problems import Problem, refused
from src.api.values import ABSENT
from src.contract import parse_task_id
from src.services.errors import TaskNotFound
from src.services.runtime import Runtime

#: A key as it is stored, and as it may be sent.
_BARE = "[!#-~]([ !#-~]{0,253}[!#-~])?"
_KEY = re.compile(f'{_BARE}|"{_BARE}"')


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
    task_id: Annotated[str, Path(description="The `task_id` that the submission returned")],
) -> str:
    """Return the id as it is stored; what is no UUID is no task's, and no question to the table."""
    known_form = parse_task_id(task_id)
    if known_form is None:
        raise TaskNotFound
    return known_form


async def _idempotency_key(
    request: Request,
    idempotency_key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            description=(
                "A key of yours, up to 255 characters, quoted or not: the same request again, with "
                "the same key, submits no second task and gets the same answer"
            ),
            json_schema_extra={"pattern": f"^({_KEY.pattern})$"},
        ),
    ] = ABSENT,
) -> str | None:
    """Return the key without its quotes: printable ASCII, no spaces at the ends."""
    if idempotency_key is None:
        return None
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise refused([{"field": "Idempotency-Key", "message": "must be one, there are several"}])
    if not _KEY.fullmatch(idempotency_key):
        message = (
            "must be 1 to 255 printable ASCII characters, without quotes inside or spaces at the "
            "ends"
        )
        raise refused([{"field": "Idempotency-Key", "message": message}])
    return idempotency_key.strip('"')


TaskId = Annotated[str, Depends(_task_id)]
RuntimeDep = Annotated[Runtime, Depends(_runtime)]
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
JsonBody = Depends(_require_json)
