"""``@handler``: says which type of task a function runs, and under which rules."""

import inspect
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, RootModel

from src.handlers.context import Context
from src.outcome import clip

#: Where the decorator leaves what it was told. A mark on the function and no list of all
#: handlers: a module that is imported for another reason serves nothing.
MARK = "__task_handler__"

#: Characters kept of a description.
DESCRIPTION_CHARACTERS = 1_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Handler:
    """A type of task and the function that does it.

    ``None`` leaves a limit to the worker's settings. ``backoff``: seconds after the first, second,
    … error, the last one again for all that follow; empty for the worker's policy.
    """

    name: str
    function: Callable[[Any, Context], Any]
    payload: type[BaseModel] | None = None
    description: str | None = None
    max_attempts: int | None = None
    timeout_seconds: float | None = None
    backoff: Sequence[float] = ()
    process: bool = False

    def entry(self) -> dict[str, Any]:
        """Return what the catalogue ``task_types`` tells of it to clients."""
        return {
            "name": self.name,
            "description": self.description,
            "payload_schema": self.payload and self.payload.model_json_schema(),
            "max_attempts": self.max_attempts,
            "timeout_seconds": self.timeout_seconds and math.ceil(self.timeout_seconds),
        }


def handler(
    name: str,
    *,
    payload: type[BaseModel] | None = None,
    max_attempts: int | None = None,
    timeout_seconds: float | None = None,
    backoff: float | Sequence[float] = (),
    process: bool = False,
) -> Callable[[F], F]:
    """Make a function the handler of the tasks of type ``name``. It stays callable as it was.

    The function takes the payload (the model, or the task's metadata where there is none) and a
    ``Context``, and returns what can be written as JSON, or None. It may be ``async``.

    Args:
        name: up to 64 letters, digits and ``_ . : -``.
        payload: the model that the task's metadata must fit; the API checks it at submission.
        max_attempts: errors after which a task is FAILED; a task's own wins.
        timeout_seconds: how long an attempt may take; a task's own wins.
        backoff: seconds before the next attempt, one for all or one for each error.
        process: run each attempt in a process of its own, which can be killed at any moment.

    Raises:
        TypeError: the function cannot be a handler.
        ValueError: a name or a limit is out of range.
    """
    steps = tuple(backoff) if isinstance(backoff, Sequence) else (backoff,)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r}: a type is named by 1 to 64 letters, digits and _ . : -")
    if payload is not None and not (isinstance(payload, type) and issubclass(payload, BaseModel)):
        raise TypeError(f"{name}: payload must be a pydantic model, found {payload!r}")
    if payload is not None and issubclass(payload, RootModel):
        raise TypeError(f"{name}: payload must be a model with fields, since metadata is an object")
    if max_attempts is not None and not 1 <= max_attempts <= 1000:
        raise ValueError(f"{name}: max_attempts must be 1 to 1000, found {max_attempts!r}")
    if timeout_seconds is not None and not 0 < timeout_seconds <= 604_800:
        raise ValueError(f"{name}: timeout_seconds must be up to 604800, found {timeout_seconds!r}")
    if not all(math.isfinite(seconds) and 0 <= seconds <= 31_622_400 for seconds in steps):
        raise ValueError(f"{name}: backoff must be seconds, 0 to 31622400, found {backoff!r}")

    def mark(function: F) -> F:
        _check_function(name, function, process)
        first = (inspect.getdoc(function) or "").partition("\n\n")[0]
        declared = Handler(
            name,
            function,
            payload=payload,
            description=clip(first.replace("\n", " "), DESCRIPTION_CHARACTERS) or None,
            max_attempts=max_attempts,
            timeout_seconds=timeout_seconds,
            backoff=steps,
            process=process,
        )
        # Here and not later, so that a model whose schema is no JSON is told with its line.
        json.dumps(declared.entry(), allow_nan=False)
        setattr(function, MARK, declared)
        return function

    return mark


def _check_function(name: str, function: Callable[..., Any], process: bool) -> None:
    if not inspect.isfunction(function):
        raise TypeError(f"{name}: @handler goes on a function, found {function!r}")
    try:
        inspect.signature(function).bind("payload", "context")
    except TypeError:
        raise TypeError(f"{name}: the function must take (payload, context)") from None
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name}: a handler returns its result, it must not yield")
    if hasattr(function, MARK):
        raise TypeError(f"{name}: the function is the handler of another type already")
    if process and "<locals>" in function.__qualname__:
        raise TypeError(f"{name}: with process=True the function must stand in the module itself")
