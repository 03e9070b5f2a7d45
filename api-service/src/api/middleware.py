"""What every request passes: an id, a limit on how many and how large, and a last catch."""

import re
import time

import structlog
import uuid_utils
from anyio import BrokenResourceError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.api.answer_log import AnswerLog
from src.api.problems import Problem, answer, internal_error, unavailable
from src.api.within import within

log = structlog.get_logger(__name__)

#: Seconds for a client to send its body; uvicorn itself would wait for ever.
BODY_SECONDS = 10
#: Seconds for a client to take what is sent to it; a stream would wait for ever.
SEND_SECONDS = 30
#: Requests under way at once. With a frozen database the last of so many waits some seconds for
#: a thread, and what comes on top is told at once to come again.
MAX_IN_FLIGHT = 200

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class ClientStuck(Exception):
    """The client takes nothing of what is sent to it."""


def _request_id(scope: Scope) -> str:
    """Return the client's own id of a request if it has a good one, else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid_utils.uuid4())


class RequestContext:
    """Gives the request its id, logs it, and turns what nobody caught into a 500."""

    def __init__(self, app: ASGIApp, answers: AnswerLog) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status, stuck = 0, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, stuck
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (b"x-request-id", request_id.encode())
                message["headers"] = [*message.get("headers", ()), own]
            try:
                await within(SEND_SECONDS, send(message))
            except TimeoutError:
                stuck = True
                raise ClientStuck from None

        started = time.monotonic()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            if stuck:
                # Comes in a group of its own from a stream.
                log.warning("client does not read, dropped", path=scope["path"])
                return
            if status and _left_its_stream(error):
                return
            log.exception("request broke", method=scope["method"], path=scope["path"])
            if status:
                raise
            await answer(Request(scope), internal_error())(scope, receive, send_with_id)
        finally:
            event = {
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "ms": round((time.monotonic() - started) * 1000, 1),
            }
            # Probes come every few seconds and would drown the rest.
            if scope["path"].startswith("/health/"):
                log.debug("answered", **event)
            else:
                self._answers.note(event)
            structlog.contextvars.clear_contextvars()


def _left_its_stream(error: Exception) -> bool:
    """Tell whether a client went while an event was waiting for it to read: nothing is broken.

    The framework hands events from task to task, and the one that waits finds the other gone.
    """
    if not isinstance(error, ExceptionGroup):
        return isinstance(error, BrokenResourceError)
    return all(map(_left_its_stream, error.exceptions))


class BodyLimit:
    """Reads the body before anybody else does, up to a size and for a time."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        try:
            body = await within(BODY_SECONDS, self._read(Headers(scope=scope), receive))
        except TimeoutError:
            body = Problem(
                408,
                f"The body did not arrive within {BODY_SECONDS} s.",
                headers={"Connection": "close"},
            )
        if isinstance(body, Problem):
            await answer(Request(scope), body)(scope, receive, send)
        elif body is not None:
            scope["state"]["body"] = body
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, headers: Headers, receive: Receive) -> bytes | Problem | None:
        too_large = Problem(
            413,
            f"The body is larger than {self._max_bytes} bytes (MAX_BODY_BYTES); send less.",
            headers={"Connection": "close"},
        )
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            return too_large
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                return too_large
            if not message.get("more_body", False):
                return bytes(body)


class InFlightLimit:
    """Answers 503 at once when so many requests are under way that this one would only wait.

    Inside of ``BodyLimit``: a client that is slow to send its body takes nobody's place.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/health/"):
            await self._app(scope, receive, send)
            return
        if self._in_flight >= MAX_IN_FLIGHT:
            problem = unavailable("Too many requests are under way; send it again shortly.")
            await answer(Request(scope), problem)(scope, receive, send)
            return
        self._in_flight += 1
        left = False

        def give_way() -> None:
            """Leave the place to others, for who goes on to wait."""
            nonlocal left
            if not left:
                left = True
                self._in_flight -= 1

        scope.setdefault("state", {})["give_way"] = give_way
        try:
            await self._app(scope, receive, send)
        finally:
            give_way()


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hand the body on as one message; later calls see the client as it is."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
