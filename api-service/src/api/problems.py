"""Errors as RFC 9457 ``application/problem+json``: the one place where they become HTTP."""

import difflib
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, get_args
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from src.api.values import TIME_HINT
from src.db.database import DatabaseUnavailable, SchemaMismatch
from src.services.errors import (
    KeyReused,
    NothingToTell,
    SubmissionInvalid,
    TaskNotFound,
    TooManySubmissions,
    TransitionRefused,
)
from src.services.transitions import Action

log = structlog.get_logger(__name__)

#: Seconds after which a client may try again when the database was away.
RETRY_AFTER_SECONDS = 2


#: Errors that one answer names; a body can have any number.
MAX_ERRORS = 50

#: What a 409 says, by what was asked for.
REFUSALS = {
    Action.CANCEL: (
        "There is nothing to cancel: the task is {status} already. Leave it, or delete it."
    ),
    Action.RETRY: (
        "Only what is FAILED or CANCELLED is run again: the task is {status}. "
        "Submit a new one instead."
    ),
    Action.DELETE: (
        "A task that is {status} is not deleted: cancel it, wait until it is final, then delete it."
    ),
}


class Problem(Exception):
    """An error response in the making; ``detail`` is a sentence to act on."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def response(self, path: str, request_id: str) -> Response:
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": path,
            "request_id": request_id,
        }
        if self.errors is not None:
            body["errors"] = list(self.errors)
        # Plain ASCII: what a client sent may hold lone surrogates, which UTF-8 cannot carry.
        return Response(
            json.dumps(body),
            self.status,
            headers=self.headers,
            media_type="application/problem+json",
        )


def unavailable(detail: str) -> Problem:
    return Problem(503, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def internal_error() -> Problem:
    return Problem(
        500, "Something broke on our side; the log has it under this request_id. Try again later."
    )


def answer(request: Request, problem: Problem) -> Response:
    return problem.response(quote(request.scope["path"]), str(request.state.request_id))


def handle_problems(app: FastAPI) -> None:
    """Register how each error of the services and of the framework is told to the client.

    All are ``async``: a plain function would need one of the threads that wait for the database.
    """

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return answer(request, error)

    @app.exception_handler(TaskNotFound)
    async def task_not_found(request: Request, _error: TaskNotFound) -> Response:
        return answer(request, Problem(404, "No task has this id; it was deleted or never stored."))

    @app.exception_handler(TransitionRefused)
    async def transition_refused(request: Request, error: TransitionRefused) -> Response:
        detail = REFUSALS[Action(error.action)].format(status=error.status)
        return answer(request, Problem(409, detail))

    @app.exception_handler(NothingToTell)
    async def nothing_to_tell(request: Request, error: NothingToTell) -> Response:
        return answer(request, Problem(409, str(error)))

    @app.exception_handler(KeyReused)
    async def key_reused(request: Request, _error: KeyReused) -> Response:
        return answer(
            request,
            Problem(
                422,
                "This Idempotency-Key belongs to an earlier request with another body; "
                "use a new key for a new task.",
            ),
        )

    @app.exception_handler(SubmissionInvalid)
    async def submission_invalid(request: Request, error: SubmissionInvalid) -> Response:
        found = [{"field": c.field, "message": c.message} for c in error.complaints]
        return answer(request, refused(found[:MAX_ERRORS], len(found)))

    @app.exception_handler(TooManySubmissions)
    async def too_many_submissions(request: Request, _error: TooManySubmissions) -> Response:
        return answer(
            request, unavailable("Too many submissions wait to be stored; send it again shortly.")
        )

    @app.exception_handler(DatabaseUnavailable)
    async def database_unavailable(request: Request, error: DatabaseUnavailable) -> Response:
        log.warning("database away", reason=str(error))
        return answer(request, unavailable("The database is away; send the same request again."))

    @app.exception_handler(SchemaMismatch)
    async def schema_mismatch(request: Request, error: SchemaMismatch) -> Response:
        log.error("schema refused", reason=str(error))
        return answer(
            request,
            unavailable(
                "The database is not set up for this service; its log says what is missing."
            ),
        )

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        return answer(request, _from_framework(request, error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        found = error.errors()
        named = [_entry(one, request) for one in found[:MAX_ERRORS]]
        return answer(request, refused(named, len(found)))


def _from_framework(request: Request, error: HTTPException) -> Problem:
    root = request.scope.get("app_root_path", request.scope["root_path"])
    details = {
        404: f"Nothing is at this path. The API is described at {root}/docs.",
        405: "This path does not take this method; the Allow header names those that it takes.",
        400: "The body cannot be read as JSON; send a JSON object in UTF-8.",
    }
    detail = details.get(error.status_code, str(error.detail))
    headers = error.headers
    if error.status_code == 405:
        headers = {"Allow": ", ".join(_allowed(request)) or "GET, HEAD"}
    # The framework gave up on the body: bytes that are no UTF-8, nested too deep, absurd numbers.
    errors = [{"field": "", "message": detail}] if error.status_code == 400 else None
    return Problem(error.status_code, detail, errors=errors, headers=headers)


def _allowed(request: Request) -> list[str]:
    """Return the methods of a path; Starlette names those of one of its routes only."""
    path, paths = request.scope["path"], request.app.openapi()["paths"]
    found = (
        [paths[path]]
        if path in paths
        else [operations for template, operations in paths.items() if _fits(template, path)]
    )
    return sorted({method.upper() for operations in found for method in operations})


def _fits(template: str, path: str) -> bool:
    wanted, given = template.split("/"), path.split("/")
    return len(wanted) == len(given) and all(
        part == here or part.startswith("{") for part, here in zip(wanted, given, strict=True)
    )


def refused(errors: Sequence[Mapping[str, str]], count: int | None = None) -> Problem:
    """Make a 400 of what is wrong: of each its ``field`` and a ``message``.

    ``count``: how many there are, where not all are named.
    """
    first = errors[0]
    where = f"{first['field']}: " if first["field"] else ""
    others = (count or len(errors)) - 1
    more = f" ({others} more in errors)" if others else ""
    if others >= len(errors):
        more = f" ({others} more, the first {len(errors)} are in errors)"
    return Problem(400, f"The request is not valid. {where}{first['message']}{more}", errors=errors)


def _entry(error: Any, request: Request) -> dict[str, str]:
    """One error without the value that caused it."""
    place = [str(part)[:100] for part in error["loc"][1:]]
    kind = error["type"]
    if kind == "json_invalid":
        at = error["loc"][-1]
        return {"field": "", "message": f"The body is not JSON: broken at character {at}."}
    message = error["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        known = known_fields(request.scope.get("route"), error["loc"])
        near = difflib.get_close_matches(place[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
        message = f"unknown field; {hint}"
    elif kind == "string_too_short":
        message = "must not be blank"
    elif kind == "missing":
        message = "is required" if place else "A JSON object is required as the body."
    elif kind == "model_attributes_type":
        message = "must be a JSON object" if place else "The body must be a JSON object."
    elif kind.startswith("datetime"):
        message = TIME_HINT
    elif place[-1:] == ["cursor"] and kind == "string_pattern_mismatch":
        message = "must be the 'next' of an earlier answer; leave it out to begin"
    elif kind == "string_unicode":
        message = "must be valid Unicode; it holds a lone surrogate"
    return {"field": ".".join(place), "message": message}


def known_fields(route: Any, place: Sequence[Any]) -> list[str]:
    """Return the names that are known where a request has an unknown one."""
    dependant = route.dependant
    found = dependant.query_params if place[0] == "query" else dependant.body_params
    model: Any = found[0].field_info.annotation if found else None
    for part in place[1:-1]:
        if isinstance(part, str) and model is not None:
            model = _model_in(model.model_fields[part].annotation)
    return list(model.model_fields) if model is not None else []


def _model_in(annotation: Any) -> Any:
    """Return the model in a ``list[Model]`` or ``Model | None``, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in inner if model is not None), None)
