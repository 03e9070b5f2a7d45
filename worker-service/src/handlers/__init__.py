"""What a handler is given, and the handlers that are always there."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Cancelled(Exception):
    """Raised by a handler that stopped because it was told to."""


@dataclass(frozen=True)
class Context:
    """The attempt as its handler sees it. ``cancelled`` is set when it should stop."""

    task_id: str
    attempt: int
    title: str
    description: str
    cancelled: threading.Event = field(default_factory=threading.Event)


#: Takes the task's metadata, returns what can be written as JSON, or raises.
Handler = Callable[[Any, Context], Any]
