"""Runs one attempt of a handler and returns what it did as a value; nothing escapes."""

import asyncio
import inspect
import json
import math
import traceback
from collections.abc import Awaitable
from typing import Any

from pydantic import BaseModel, ValidationError
from structlog.contextvars import bind_contextvars, reset_contextvars

from src.handlers.context import Context
from src.handlers.declare import Handler
from src.handlers.errors import Permanent, RetryAfter
from src.outcome import (
    ERROR_CHARACTERS,
    TRACEBACK_CHARACTERS,
    Failure,
    Outcome,
    Success,
    clip,
    describe,
)

#: Bytes of a result as JSON; larger ones belong into a store of their own.
MAX_RESULT_BYTES = 64 * 1024
#: MariaDB refuses JSON deeper than 32.
MAX_RESULT_DEPTH = 20
#: Beyond this MySQL keeps an integer as a double.
_INTEGERS = range(-(2**63), 2**64)
#: The longest that a handler may put off its next attempt: 366 days.
MAX_RETRY_AFTER_SECONDS = 31_622_400.0
#: Made once: for each result it would cost more than to write it.
_write = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode
#: Wrong fields of a payload that an error names.
MAX_FIELDS = 5


def call(handler: Handler, details: Any, context: Context) -> Outcome:
    """Run the handler in this thread. ``details``: the task's metadata as it is stored."""
    names = bind_contextvars(task_id=context.task_id, attempt=context.attempt)
    try:
        try:
            payload = _payload(handler, details)
        except ValidationError as invalid:
            return Failure(_complaint(invalid), permanent=True)
        return _success(_run(handler, payload, context))
    except BaseException as error:  # noqa: BLE001 - an exit as well is only a failure
        return _failure(error)
    finally:
        reset_contextvars(**names)


def _payload(handler: Handler, details: Any) -> Any:
    if handler.payload is None:
        return details
    # As JSON, since it came as JSON: a strict model takes a date's text here and nowhere else.
    return handler.payload.model_validate_json(json.dumps({} if details is None else details))


def _run(handler: Handler, payload: Any, context: Context) -> Any:
    result = handler.function(payload, context)
    # Looked at now and not in the function: a plain decorator may stand around an async one.
    return asyncio.run(_wait_for(result, context)) if inspect.isawaitable(result) else result


async def _wait_for(result: Awaitable[Any], context: Context) -> Any:
    """Await an async handler; being told to stop reaches it as the cancellation of its task."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task  # noqa: S101 - for the type checker
    with context.cancelled.calling(lambda: loop.call_soon_threadsafe(task.cancel)):
        return await result


def _success(result: Any) -> Outcome:
    try:
        if isinstance(result, BaseModel):
            result = result.model_dump(mode="json")
        size = len(_write(result).encode())
        _check(result, MAX_RESULT_DEPTH)
    except (TypeError, ValueError, RecursionError) as error:
        return Failure(f"the result cannot be kept as JSON: {describe(error)}", permanent=True)
    if size > MAX_RESULT_BYTES:
        return Failure(
            f"the result has {size} bytes as JSON; at most {MAX_RESULT_BYTES} are kept, "
            "so put it into a store of its own and return where it is",
            permanent=True,
        )
    return Success(result)


def _check(value: Any, levels: int) -> None:
    """Raise ValueError for what JSON can say and a database would not give back equal."""
    if isinstance(value, (dict, list, tuple)):
        if levels == 0:
            raise ValueError(f"nested deeper than {MAX_RESULT_DEPTH} levels")
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            raise ValueError("keys must be strings")
        for item in value.values() if isinstance(value, dict) else value:
            _check(item, levels - 1)
    elif isinstance(value, int) and value not in _INTEGERS:
        raise ValueError("integers must fit into 64 bits; return larger ones as strings")


def _failure(error: BaseException) -> Failure:
    return Failure(
        clip(describe(error), ERROR_CHARACTERS),
        clip(_traceback(error), TRACEBACK_CHARACTERS),
        permanent=isinstance(error, Permanent),
        retry_after_seconds=_delay(error),
    )


def _delay(error: BaseException) -> float | None:
    """Return the seconds that a handler asks for, where it asks for any that make sense."""
    try:
        seconds = float(error.seconds) if isinstance(error, RetryAfter) else math.nan
    except Exception:  # noqa: BLE001 - a subclass of somebody else's
        return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - an exception's own text may raise in turn
        return "".join(traceback.format_tb(error.__traceback__))


def _complaint(invalid: ValidationError) -> str:
    """Name the wrong fields without their values."""
    found = invalid.errors(include_url=False, include_context=False, include_input=False)
    fields = [f"{'.'.join(map(str, e['loc'])) or 'metadata'}: {e['msg']}" for e in found]
    more = f" ({len(fields) - MAX_FIELDS} more)" if len(fields) > MAX_FIELDS else ""
    return f"the payload does not fit: {'; '.join(fields[:MAX_FIELDS])}{more}"
