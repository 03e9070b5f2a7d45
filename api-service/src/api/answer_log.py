"""One line a request: what was answered. Written a moment later, those of a moment together."""

import asyncio
import contextvars

import structlog
from structlog.typing import EventDict

from src.logs import info_each

#: Seconds that a line may wait for others. Alone it costs an answer several times as much, and
#: a task that comes alone is done the sooner for what is not written meanwhile (./dev bench).
MOMENT_SECONDS = 0.02

_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)


class AnswerLog:
    """Keeps the events of an event loop until the loop has it write them."""

    def __init__(self) -> None:
        self._events: list[EventDict] = []
        #: The loop that will write what is kept; None if none was asked to.
        self._loop: asyncio.AbstractEventLoop | None = None

    def note(self, event: EventDict) -> None:
        """Have an event written soon, with the time and the context that it has now."""
        known = structlog.contextvars.get_contextvars()
        self._events.append(_stamp(None, "info", {**known, **event, "event": "answered"}))
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            # In a context of its own: that of this request is not for the others.
            loop.call_later(MOMENT_SECONDS, self.tell, context=contextvars.Context())

    def tell(self) -> None:
        """Write what is kept; to be called at the end, too."""
        self._loop = None
        events, self._events = self._events, []
        if events:
            info_each(__name__, events)
