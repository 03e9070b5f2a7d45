"""Answers with the manners of HTTP: entity tags, and when to ask again."""

import hashlib
from collections.abc import Mapping

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from src.api.views import TaskView
from src.contract import FINAL

#: Seconds after which it is worth asking again how far a task is.
ASK_AGAIN_SECONDS = "1"


def written(
    view: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Write a body here and now: what is returned as a model costs a thread more."""
    return Response(view.model_dump_json(), status, headers=headers, media_type="application/json")


def task_answer(
    view: TaskView,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    request: Request | None = None,
) -> Response:
    """Write a task, with its entity tag and, while it is not final, when to ask again.

    With ``request`` the answer to a conditional one: 304 if the client has just this already.
    """
    body = view.model_dump_json().encode()
    tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    wait = {} if view.status in FINAL else {"Retry-After": ASK_AGAIN_SECONDS}
    # A task may change at any moment: what is kept must be asked for again.
    own = {"ETag": tag, "Cache-Control": "no-cache", **wait, **(headers or {})}
    if request is not None and _is_known(",".join(request.headers.getlist("if-none-match")), tag):
        return Response(None, 304, headers=own)
    return Response(body, status, headers=own, media_type="application/json")


def _is_known(known: str, tag: str) -> bool:
    return known.strip() == "*" or tag in [
        entry.strip().removeprefix("W/") for entry in known.split(",")
    ]
