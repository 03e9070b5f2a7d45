"""Finds the handlers in the modules that ``HANDLER_MODULES`` names."""

import importlib
import inspect
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from src.handlers.declare import MARK, Handler
from src.outcome import describe


class HandlersUnusable(Exception):
    """A module cannot be used; the message is one line for whoever starts the worker."""


def load_handlers(modules: Iterable[str], built_in: Mapping[str, Handler]) -> dict[str, Handler]:
    """Import the modules and return every handler that they hold, by type.

    Raises:
        HandlersUnusable: an import fails, a module holds no handler, or a type has two.
    """
    found = dict(built_in)
    for name in modules:
        handlers = handlers_of(_import(name))
        if not handlers:
            raise _unusable(name, 'holds no handler; put @handler("type") on a function')
        for handler in handlers:
            other = found.setdefault(handler.name, handler)
            if handler.name in built_in:
                raise _unusable(name, f"the type {handler.name!r} is built in; use another name")
            if other.function is not handler.function:
                raise _unusable(
                    name, f"the type {handler.name!r} is handled in {other.function.__module__} too"
                )
    return found


def handlers_of(module: ModuleType) -> list[Handler]:
    """Return the handlers among the names of a module."""
    functions = filter(inspect.isfunction, vars(module).values())
    # A decorator above @handler takes the mark over: then it is what has to be called.
    return [replace(getattr(f, MARK), function=f) for f in functions if hasattr(f, MARK)]


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise _unusable(
                name,
                "no such module; put FILE.py into handlers/ and name it handlers.FILE, "
                "or use PYTHONPATH",
            ) from error
        raise _unusable(name, _in_a_line(error)) from error
    except BaseException as error:
        # Whatever it is, also an exit: it is somebody else's code.
        raise _unusable(name, _in_a_line(error)) from error


def _in_a_line(error: BaseException) -> str:
    """Tell an error with the place in the module that it comes from."""
    text = " ".join(describe(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    place = next((f for f in reversed(frames) if "importlib" not in f.filename), None)
    if isinstance(error, SyntaxError):
        return text
    where = f" ({Path(place.filename).name}, line {place.lineno})" if place else ""
    return f"{text}{where}"


def _unusable(module: str, reason: str) -> HandlersUnusable:
    return HandlersUnusable(f"HANDLER_MODULES: {module}: {reason}")
