"""Errors as RFC 9457 ``application/problem+json``: the one place where they become HTTP."""

import difflib
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from src.api.schemas import SubmitTask
from src.db.database import DatabaseUnavailable, SchemaMismatch
from src.services.errors import SubmissionInvalid, TaskFinal, TaskNotFound

log = structlog.get_logger(__name__)

#: Seconds after which a client may try again when the database was away.
RETRY_AFTER_SECONDS = 2


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

    @app.exception_handler(TaskFinal)
    async def task_final(request: Request, error: TaskFinal) -> Response:
        detail = f"There is nothing to cancel: the task is {error.status} already."
        return answer(request, Problem(409, detail))

    @app.exception_handler(SubmissionInvalid)
    async def submission_invalid(request: Request, error: SubmissionInvalid) -> Response:
        found = [{"field": c.field, "message": c.message} for c in error.complaints]
        return answer(request, _refused(found))

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
        return answer(request, _invalid(error.errors(), list(SubmitTask.model_fields)))


def _from_framework(request: Request, error: HTTPException) -> Problem:
    root = request.scope.get("app_root_path", request.scope["root_path"])
    details = {
        404: f"Nothing is at this path. The API is described at {root}/docs.",
        405: "This path does not take this method; the Allow header names those that it takes.",
        400: "The body cannot be read as JSON; send a JSON object in UTF-8.",
    }
    detail = details.get(error.status_code, str(error.detail))
    headers = error.headers
    if error.status_code == 405 and not headers:
        # Static files: Starlette leaves out what it allows.
        headers = {"Allow": "GET, HEAD"}
    # The framework gave up on the body: bytes that are no UTF-8, nested too deep, absurd numbers.
    errors = [{"field": "", "message": detail}] if error.status_code == 400 else None
    return Problem(error.status_code, detail, errors=errors, headers=headers)


def _invalid(found: Sequence[Any], known: Sequence[str]) -> Problem:
    return _refused([_entry(error, known) for error in found])


def _refused(errors: Sequence[Mapping[str, str]]) -> Problem:
    first = errors[0]
    where = f"{first['field']}: " if first["field"] else ""
    more = f" ({len(errors) - 1} more in errors)" if len(errors) > 1 else ""
    return Problem(400, f"The request is not valid. {where}{first['message']}{more}", errors=errors)


def _entry(error: Any, known: Sequence[str]) -> dict[str, str]:
    """One error without the value that caused it."""
    place = [str(part)[:100] for part in error["loc"][1:]]
    kind = error["type"]
    if kind == "json_invalid":
        at = error["loc"][-1]
        return {"field": "", "message": f"The body is not JSON: broken at character {at}."}
    message = error["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
        message = f"unknown field; {hint}"
    elif kind == "string_too_short":
        message = "must not be blank"
    elif kind == "missing":
        message = "is required" if place else "A JSON object is required as the body."
    elif kind == "model_attributes_type":
        message = "The body must be a JSON object."
    elif kind == "string_unicode":
        message = "must be valid Unicode; it holds a lone surrogate"
    return {"field": ".".join(place), "message": message}
