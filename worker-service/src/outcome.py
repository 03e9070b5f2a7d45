"""What an attempt comes to, as values. No database, no handler's code."""

from dataclasses import dataclass
from typing import Any

#: Characters kept of an error and of a traceback; a TEXT column holds 65,535 bytes.
ERROR_CHARACTERS = 4_000
TRACEBACK_CHARACTERS = 15_000


@dataclass(frozen=True)
class Success:
    """The handler returned. ``result`` can be written as JSON."""

    result: Any = None


@dataclass(frozen=True)
class Failure:
    """The handler raised; ``error`` is type and message.

    ``permanent``: another attempt would end the same way. ``retry_after_seconds``: the handler
    knows when it is worth trying again.
    """

    error: str
    traceback: str = ""
    permanent: bool = False
    retry_after_seconds: float | None = None


@dataclass(frozen=True)
class TimedOut:
    """The handler was still running at its limit; ``traceback`` is where it stood."""

    limit_seconds: float
    traceback: str = ""


@dataclass(frozen=True)
class Stopped:
    """The handler was told to stop by a cancel request."""


@dataclass(frozen=True)
class Released:
    """Given back unfinished, for a reason that is not the task's. No delay: due as it was."""

    reason: str
    delay_seconds: float | None = None


@dataclass(frozen=True)
class ProcessLost:
    """The handler's own process ended without an outcome; ``how`` names the signal or code."""

    how: str


Outcome = Success | Failure | TimedOut | Stopped | Released | ProcessLost


@dataclass(frozen=True)
class Progress:
    """How far a handler says it is: 0 to 100, and a line for people."""

    percent: int
    note: str | None = None


def describe(error: BaseException) -> str:
    """Name type and message; an exception's own text may raise in turn."""
    try:
        text = str(error)
        return f"{type(error).__name__}: {text}" if text else type(error).__name__
    except BaseException:  # noqa: BLE001 - whatever it is, the handler's failure is what counts
        return f"{type(error).__name__}, whose text cannot be read"


def clip(text: str, characters: int) -> str:
    """Shorten a text and replace what no database keeps: NUL and lone surrogates."""
    clean = text.encode(errors="replace").decode().replace("\x00", "\ufffd")
    return clean if len(clean) <= characters else clean[: characters - 1] + "…"
