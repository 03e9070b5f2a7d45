"""Who may do what: looks at the API key of a request before anything else does.

What is not under ``/api`` stays open: health, Swagger UI, the description and the dashboard's own
files hold no data.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from src.api.problems import Problem, answer
from src.keys import ApiKey, find_key
from src.keys import Scope as KeyScope

#: What may be done with less than ``admin``, besides reading.
SUBMISSIONS = frozenset({("POST", "/api/tasks"), ("POST", "/api/tasks/batch")})
_READS = frozenset({"GET", "HEAD"})

#: The two ways to send a key, as OpenAPI names them.
SCHEMES: Mapping[str, Mapping[str, str]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "`Authorization: Bearer KEY`",
    },
    "header": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "`X-API-Key: KEY`, where `Authorization` is somebody else's",
    },
}
NO_KEY = "This needs an API key: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
UNKNOWN_KEY = "This API key is not known here: it was mistyped, or taken back."


def needed_scope(method: str, path: str) -> KeyScope | None:
    """Return what it takes; None for what is open to all. What nobody thought of takes the most."""
    if path != "/api" and not path.startswith("/api/"):
        return None
    if method in _READS:
        return KeyScope.READ
    return KeyScope.SUBMIT if (method, path) in SUBMISSIONS else KeyScope.ADMIN


class Access:
    """Answers 401 and 403; lets the others pass and notes whose key it was."""

    def __init__(self, app: ASGIApp, keys: Sequence[ApiKey]) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        needed = None
        if scope["type"] == "http" and self._keys:
            needed = needed_scope(scope["method"], _path(scope))
        if needed is None:
            await self._app(scope, receive, send)
            return
        presented = _presented(scope)
        key = find_key(self._keys, presented) if presented else None
        if key is not None:
            structlog.contextvars.bind_contextvars(key_name=key.name)
        if key is None or not key.scope.covers(needed):
            problem = _refusal(key, needed, is_missing=not presented)
            await answer(Request(scope), problem)(scope, receive, send)
            return
        scope["state"]["key_name"] = key.name
        await self._app(scope, receive, send)


def submitted_by(scope: Scope) -> str | None:
    """Return the name of the request's key; None where no keys are asked for."""
    name: str | None = scope["state"].get("key_name")
    return name


def secure(operation: dict[str, Any], method: str, path: str, *, is_open: bool) -> None:
    """Describe in OpenAPI what an operation takes. ``is_open``: no keys are asked for."""
    needed = needed_scope(method.upper(), path)
    if needed is not None:
        schemes: list[dict[str, list[str]]] = [{name: [needed.value]} for name in SCHEMES]
        operation["security"] = [{}, *schemes] if is_open else schemes


def _path(scope: Scope) -> str:
    """Return the path as the router sees it, which leaves the prefix of a proxy out."""
    path: str = scope["path"]
    prefix: str = scope.get("root_path", "")
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def _presented(scope: Scope) -> bytes:
    """Return the key that was sent, empty if none was; ``Authorization`` may be another's."""
    headers = dict(scope["headers"])
    kind, _, token = headers.get(b"authorization", b"").partition(b" ")
    if kind.lower() == b"bearer":
        return bytes(token.strip())
    return bytes(headers.get(b"x-api-key", b"").strip())


def _refusal(key: ApiKey | None, needed: KeyScope, *, is_missing: bool) -> Problem:
    # The challenges are those of RFC 6750, section 3.
    if key is not None:
        challenge = f'Bearer error="insufficient_scope", scope="{needed}"'
        detail = f"The key {key.name!r} has the scope {key.scope}; this needs {needed}."
        return Problem(403, detail, headers={"WWW-Authenticate": challenge})
    if is_missing:
        return Problem(401, NO_KEY, headers={"WWW-Authenticate": "Bearer"})
    challenge = 'Bearer error="invalid_token"'
    return Problem(401, UNKNOWN_KEY, headers={"WWW-Authenticate": challenge})
