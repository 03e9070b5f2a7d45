"""Logging: one event a line, as text for people or as JSON for machines."""

import logging
import os
import sys
import textwrap
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

#: What a text value may not hold as it is, besides what cannot be printed.
_SPECIAL = frozenset(" =\"'")


#: Lines that may wait for one that is being written; then who has another one waits, too.
MOST_LINES = 1_000


class _Output:
    """Writes lines to standard error. Those that come while one is written follow it together.

    So a line waits for no other thread's, and a busy process does not change threads with each.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Have nothing to write. A fork may have copied lines, and a lock that nobody releases."""
        self._lines: deque[str] = deque()
        self._writing = threading.Lock()

    def write(self, line: str) -> None:
        self._lines.append(line)
        # Who writes looks again afterwards, so what was added meanwhile is not left behind.
        while self._lines and self._writing.acquire(blocking=len(self._lines) > MOST_LINES):
            try:
                text = "".join(self._lines.popleft() for _ in range(len(self._lines)))
                # A full disk or a closed pipe must not end what tells of itself.
                with suppress(OSError, ValueError):
                    sys.stderr.write(text)
            finally:
                self._writing.release()


_OUTPUT = _Output()
os.register_at_fork(after_in_child=_OUTPUT.begin)


def info_each(name: str, events: Iterable[EventDict]) -> None:
    """Write many events of the logger of that name, as its ``info`` would one by one.

    They share one write, and the time unless they have their own, so that each costs a quarter.
    """
    if not structlog.get_logger(name).is_enabled_for(logging.INFO):
        return
    config = structlog.get_config()
    logger, processors = config["logger_factory"](name), config["processors"]
    common: Any = {}
    for processor in processors:
        if processor in _COMMON:
            common = processor(logger, "info", common)
    own = [processor for processor in processors if processor not in _COMMON]
    lines: list[str] = []
    for event in events:
        line: Any = common | event
        with suppress(structlog.DropEvent):
            for processor in own:
                line = processor(logger, "info", line)
            lines.append(line)
    if lines:
        logger.msg("\n".join(lines))


class _Lines:
    """Writes lines to standard error, for the logger of that name.

    Straight there: through a record of ``logging`` an event costs three times as much, and there
    are some for each task.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def msg(self, line: str) -> None:
        _OUTPUT.write(line + "\n")

    debug = info = warning = error = critical = exception = msg


#: What an event gets whatever it says.
_COMMON: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def set_up_logging(log_format: str, level: str) -> None:
    """Send our events and those of the libraries to standard error, in one form."""
    renderers: list[Processor] = [structlog.processors.format_exc_info]
    if log_format == "json":
        renderers.append(structlog.processors.JSONRenderer())
    elif sys.stderr.isatty():
        renderers += [_indent_traceback, structlog.dev.ConsoleRenderer(pad_event_to=0)]
    else:
        renderers += [_indent_traceback, _as_text]
    structlog.configure(
        processors=[*_COMMON, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=_Lines,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_COMMON,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # Both tell of every lost connection at ERROR and with a traceback; ours says it in a line.
    for library in ("pika", "sqlalchemy.pool"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def _as_text(_logger: Any, _name: str, event: EventDict) -> str:
    """Write an event as ``ConsoleRenderer`` does without colours, at a quarter of its cost."""
    moment, level = event.pop("timestamp", ""), event.pop("level", "")
    name, exception = event.pop("logger", ""), event.pop("exception", None)
    line = f"{moment} [{level:<9}] {event.pop('event', '')} [{name}]"
    for key in sorted(event):
        line += f" {key}={_value(event[key])}"
    return line if exception is None else f"{line}\n{exception}"


def _value(value: Any) -> str:
    if isinstance(value, str) and value.isprintable() and _SPECIAL.isdisjoint(value):
        return value
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a handler's own object; an event must not break it
        return f"<{type(value).__name__} that cannot be written: {type(error).__name__}>"


def _indent_traceback(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """Set a traceback off: what a task put into its error must not pass for a line of ours."""
    if "exception" in event:
        plain = str(event["exception"]).replace("\x1b", "\\x1b").replace("\r", "\\r")
        event["exception"] = textwrap.indent(plain, "    ")
    return event
