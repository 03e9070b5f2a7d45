"""The types of task that workers have told of, and whether a submission fits one."""

import difflib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from jsonschema_rs import Validator
from sqlalchemy import select

from src.contract import DEFAULT_TYPE
from src.db.database import Database
from src.models.tables import TaskType
from src.services.errors import Complaint, PayloadInvalid, SubmissionInvalid, TypeUnknown
from src.services.payloads import complaints, is_recursive, make_validator

log = structlog.get_logger(__name__)

#: Seconds for which what was read is good enough to accept a task by. Nothing is refused without
#: a fresh look, so a type that was just added is known at once.
TRUST_SECONDS = 10.0

_MISFIT = Complaint(
    "metadata", "does not fit the JSON Schema of its type; compare it with the handler's model"
)


@dataclass(frozen=True)
class _Known:
    """A type as it was read; compiled once for as long as its schema stays the same."""

    schema: Any
    validator: Validator | None
    #: Whether the places where a payload does not fit can be named in bounded time.
    is_explained: bool


_Types = Mapping[str, _Known]


class Catalogue:
    """What is in ``task_types``, remembered for a while. Used from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._types: _Types = {}
        self._read_at = float("-inf")

    def is_known_to_fit(self, type_: str, details: dict[str, Any] | None) -> bool:
        """Tell whether a task can be accepted by what is remembered; asks nobody.

        The built-in type is always known and takes anything, whatever the table holds.
        """
        if type_ == DEFAULT_TYPE:
            return True
        is_new = time.monotonic() - self._read_at < TRUST_SECONDS
        return is_new and _fits(self._types, type_, details or {})

    def check(self, type_: str, details: dict[str, Any] | None) -> None:
        """Return if some worker has told that it can run this, be it alive or not.

        Raises:
            TypeUnknown: no worker has ever told of this type.
            PayloadInvalid: ``details`` do not fit the type's JSON Schema.
            DatabaseUnavailable: nobody could be asked.
        """
        if self.is_known_to_fit(type_, details):
            return
        payload = details or {}
        types = self._read()
        if not _fits(types, type_, payload):
            raise _fault(types, type_, payload)

    def _read(self) -> _Types:
        began = time.monotonic()
        query = select(TaskType.name, TaskType.payload_schema)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        before = self._types
        types = {
            name: before[name]
            if name in before and before[name].schema == schema
            else _know(name, schema)
            for name, schema in rows
        }
        self._types, self._read_at = types, began
        return types


def _fits(types: _Types, type_: str, payload: dict[str, Any]) -> bool:
    known = types.get(type_)
    return known is not None and (known.validator is None or known.validator.is_valid(payload))


def _fault(types: _Types, type_: str, payload: dict[str, Any]) -> SubmissionInvalid:
    known = types.get(type_)
    if known and known.validator:
        return PayloadInvalid(
            complaints(known.validator, payload) if known.is_explained else [_MISFIT]
        )
    names = sorted({DEFAULT_TYPE, *types})
    near = difflib.get_close_matches(type_, names, n=1)
    return TypeUnknown(names, near[0] if near else None)


def _know(type_: str, schema: Any) -> _Known:
    """Compile a type's schema; without a validator the worker alone is to judge."""
    try:
        validator = make_validator(schema) if schema else None
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        log.warning("schema cannot be used, the worker judges", type=type_, reason=reason)
        validator = None
    return _Known(schema, validator, validator is not None and not is_recursive(schema))
