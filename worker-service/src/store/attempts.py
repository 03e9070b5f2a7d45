"""An attempt as the worker carries it from the claim to the outcome."""

from typing import Any, NamedTuple

from src.decision import Counts


class Fence(NamedTuple):
    """Names one attempt of one task. ``number`` only grows, so an old one changes nothing."""

    task_id: str
    number: int


class Attempt(NamedTuple):
    """A claimed task: its row says PROCESSING with this attempt's number."""

    fence: Fence
    type: str
    title: str
    description: str
    details: Any
    counts: Counts
    timeout_seconds: int | None = None
    #: A worker was lost under this task before, perhaps because of it.
    suspect: bool = False
    #: Somebody is to be told when the task is final.
    wants_webhook: bool = False
