"""What the author of a handler imports; ``docs/handlers.md`` shows how."""

from src.handlers.context import Context
from src.handlers.declare import handler
from src.handlers.errors import Cancelled, Permanent, RetryAfter

__all__ = ["Cancelled", "Context", "Permanent", "RetryAfter", "handler"]
