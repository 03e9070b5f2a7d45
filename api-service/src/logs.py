"""Logging: one event a line, as text for people or as JSON for machines."""

import logging
import sys
import textwrap
from typing import Any

import structlog
from structlog.typing import EventDict, Processor


def set_up_logging(log_format: str, level: str) -> None:
    """Send our events and those of the libraries through one formatter to standard error."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderers: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [
            structlog.processors.format_exc_info,
            _indent_traceback,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # Both tell of every lost connection at ERROR and with a traceback; ours says it in a line.
    for library in ("pika", "sqlalchemy.pool"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def _indent_traceback(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """Set a traceback off: what a task put into its error must not pass for a line of ours."""
    if "exception" in event:
        plain = str(event["exception"]).replace("\x1b", "\\x1b").replace("\r", "\\r")
        event["exception"] = textwrap.indent(plain, "    ")
    return event
