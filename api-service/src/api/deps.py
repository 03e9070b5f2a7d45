"""What routes ask for in their signatures."""

from typing import Annotated

from fastapi import Depends, Request

from src.api.problems import Problem
from src.services.runtime import Runtime


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime()
    return runtime


def _require_json(request: Request) -> None:
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise Problem(
            415, "Send the body as JSON, with the header 'Content-Type: application/json'."
        )


RuntimeDep = Annotated[Runtime, Depends(_runtime)]
JsonBody = Depends(_require_json)
