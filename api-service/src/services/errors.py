"""What can go wrong in a service, named by what happened; ``api`` turns it into HTTP."""


class ServiceError(Exception):
    """The base of the errors that a client may be told."""


class TaskNotFound(ServiceError):
    """No task has this id."""
