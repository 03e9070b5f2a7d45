"""The OpenAPI description: the error responses that routes name, and no others."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from src.api.access import NO_KEY, SCHEMES, secure
from src.api.schemas import TASK_ID, ProblemView

_DETAILS = {
    400: "title: must not be blank",
    401: NO_KEY,
    403: "The key 'reports' has the scope read; this needs admin.",
    404: "No task has this id; it was deleted or never stored.",
    408: "The body did not arrive within 10 s.",
    409: "There is nothing to cancel: the task is COMPLETED already. Leave it, or delete it.",
    413: "The body is larger than 1048576 bytes (MAX_BODY_BYTES); send less.",
    422: "This Idempotency-Key belongs to an earlier request with another body; "
    "use a new key for a new task.",
    415: "Send the body as JSON, with the header 'Content-Type: application/json'.",
    500: "Something broke on our side; the log has it under this request_id. Try again later.",
    503: "The database is away; send the same request again.",
}

_ASK_AGAIN = {
    "schema": {"type": "integer"},
    "description": "Seconds after which it is worth asking how far it is",
    "example": 1,
}
_TAG = {
    "schema": {"type": "string"},
    "description": "Of this body; send it as `If-None-Match`",
    "example": '"5d41402abc4b2a76b9719d911017c592"',
}
_APPLIED = {
    "schema": {"type": "string"},
    "description": "The preference that was heeded",
    "example": "wait=10",
}
_LOCATION = {
    "schema": {"type": "string"},
    "description": "Where the task is",
    "example": f"/api/tasks/{TASK_ID}",
}
_REPLAYED = {
    "schema": {"type": "string", "enum": ["true"]},
    "description": "The answer is that of an earlier request with this key",
}
TASK_HEADERS: dict[str, Any] = {"headers": {"ETag": _TAG, "Retry-After": _ASK_AGAIN}}
WAITED_HEADERS: dict[str, Any] = {
    "headers": {**TASK_HEADERS["headers"], "Preference-Applied": _APPLIED}
}
LIST_HEADERS: dict[str, Any] = {
    "headers": {
        "Link": {
            "schema": {"type": "string"},
            "description": "The next page, while there is one",
            "example": '</api/tasks?limit=50&cursor=01931f6e8a377c31b1f53f0c2a9d7e10>; rel="next"',
        }
    }
}
EVENTS: dict[str, Any] = {
    "description": "A stream that stays open, with a comment at least every 15 s",
    "content": {
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": 'event: task\ndata: {"task_id": "…"}\nid: 1795554718760\n\n',
        }
    },
}
SUBMITTED_HEADERS: dict[str, Any] = {
    "headers": {
        "Location": _LOCATION,
        "Retry-After": _ASK_AGAIN,
        "Idempotency-Replayed": _REPLAYED,
        "Preference-Applied": _APPLIED,
    }
}
FINISHED_HEADERS: dict[str, Any] = {
    "headers": {
        "ETag": _TAG,
        "Location": _LOCATION,
        "Idempotency-Replayed": _REPLAYED,
        "Preference-Applied": _APPLIED,
    }
}
AGAIN_HEADERS: dict[str, Any] = {
    "headers": {"ETag": _TAG, "Location": _LOCATION, "Retry-After": _ASK_AGAIN}
}
SENT_HEADERS: dict[str, Any] = {"headers": {"Location": _LOCATION}}
FINAL_HEADERS: dict[str, Any] = {"headers": {"ETag": _TAG}}


def problems(
    *statuses: int, path: str = "/api/tasks", details: Mapping[int, str] | None = None
) -> dict[int | str, dict[str, Any]]:
    """Describe the error responses of a route, each with an example that names its path.

    ``details``: of statuses that say something of their own here; for 400 ``field: message``.
    """
    said = {**_DETAILS, **(details or {})}
    return {status: _response(status, path, said[status]) for status in statuses}


def _response(status: int, path: str, detail: str) -> dict[str, Any]:
    field, _, message = detail.partition(": ")
    if status == 400:
        detail = f"The request is not valid. {detail}"
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": path,
        "request_id": "0b0f4a3c-6a44-4d0c-9d1b-0f6f5d1c7a55",
    }
    if status == 400:
        example["errors"] = [{"field": field, "message": message}]
    description: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/ProblemView"},
                "example": example,
            }
        },
    }
    if status in (401, 403):
        description["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    if status == 503:
        description["headers"] = {
            "Retry-After": {
                "schema": {"type": "integer"},
                "description": "Seconds after which to try again",
                "example": 2,
            }
        }
    return description


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Return the models of this API that have examples."""
    for model in base.__subclasses__():
        extra = model.model_config.get("json_schema_extra")
        is_ours = model.__module__.startswith("src.api")
        if is_ours and isinstance(extra, dict) and "examples" in extra:
            yield model
        yield from _models(model)


def describe(app: FastAPI, *, is_open: bool) -> dict[str, Any]:
    """Build the description once, without the 422 that FastAPI adds and this API never sends.

    ``is_open``: no keys are asked for.
    """
    if app.openapi_schema is None:
        schema = FastAPI.openapi(app)
        for template, path in schema["paths"].items():
            for method, operation in path.items():
                _describe_access(operation, method, template, is_open=is_open)
                for response in operation["responses"].values():
                    # A word of OpenAPI 3.2, in a description that says it is 3.1.
                    response.get("content", {}).get("text/event-stream", {}).pop("itemSchema", None)
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        components = schema["components"]["schemas"]
        components.pop("HTTPValidationError", None)
        components.pop("ValidationError", None)
        components["ProblemView"] = ProblemView.model_json_schema()
        for model in _models(BaseModel):
            extra = model.model_config.get("json_schema_extra")
            if model.__name__ in components and isinstance(extra, dict):
                # As they are written: pydantic sorts their fields, FastAPI drops their nulls.
                components[model.__name__] |= {"examples": extra["examples"]}
        schema["components"]["schemas"] = dict(sorted(components.items()))
        schema["components"]["securitySchemes"] = SCHEMES
        app.openapi_schema = schema
    return app.openapi_schema


def _describe_access(operation: dict[str, Any], method: str, path: str, *, is_open: bool) -> None:
    secure(operation, method, path, is_open=is_open)
    if "security" in operation:
        example = path.replace("{task_id}", TASK_ID)
        for status, response in problems(401, 403, path=example).items():
            operation["responses"][str(status)] = response
        operation["responses"] = dict(sorted(operation["responses"].items()))
