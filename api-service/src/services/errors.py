"""What can go wrong in a service, named by what happened; ``api`` turns it into HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass

from src.contract import Status


@dataclass(frozen=True)
class Complaint:
    """What is wrong with a field of a request; never holds the value."""

    field: str
    message: str


class ServiceError(Exception):
    """The base of the errors that a client may be told."""


class TaskNotFound(ServiceError):
    """No task has this id."""


class TransitionRefused(ServiceError):
    """What was asked for leads nowhere from the task's status."""

    def __init__(self, action: str, status: Status) -> None:
        super().__init__(action, status)
        self.action = action
        self.status = status


class NothingToTell(ServiceError):
    """There is no webhook to send for a task; says why."""


class TooManySubmissions(ServiceError):
    """So many wait to be stored that one more would only wait."""


class KeyReused(ServiceError):
    """The idempotency key belongs to a submission that asked for something else."""


class SubmissionInvalid(ServiceError):
    """The submission does not fit what the workers can run."""

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        super().__init__(f"{len(complaints)} complaints")
        self.complaints = complaints


class PayloadInvalid(SubmissionInvalid):
    """The metadata do not fit the JSON Schema of the task's type."""


class TypeUnknown(SubmissionInvalid):
    """No worker has ever told of this type. ``near``: the known one that looks most like it."""

    def __init__(self, known: Sequence[str], near: str | None) -> None:
        hint = f"did you mean {near!r}? " if near else ""
        message = f"unknown type; {hint}known are {', '.join(known[:50])}"
        super().__init__([Complaint("type", message)])
