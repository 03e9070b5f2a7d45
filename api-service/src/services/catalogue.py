"""The types of task that workers have told of, and whether a submission fits one."""

import difflib
import time
from collections.abc import Mapping
from typing import Any

import structlog
from jsonschema_rs import Validator
from sqlalchemy import select

from src.contract import DEFAULT_TYPE
from src.db.database import Database
from src.models.tables import TaskType
from src.services.errors import PayloadInvalid, TypeUnknown
from src.services.payloads import complaints, make_validator

log = structlog.get_logger(__name__)

#: Seconds for which what was read is good enough to accept a task by. Nothing is refused without
#: a fresh look, so a type that was just added is known at once.
TRUST_SECONDS = 10.0


class Catalogue:
    """What is in ``task_types``, remembered for a while. Used from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._types: Mapping[str, Validator | None] = {}
        self._read_at = float("-inf")

    def check(self, type_: str, details: dict[str, Any] | None) -> None:
        """Return if some worker has told that it can run this, be it alive or not.

        The built-in type is always known and takes anything, whatever the table holds.

        Raises:
            TypeUnknown: no worker has ever told of this type.
            PayloadInvalid: ``details`` do not fit the type's JSON Schema.
            DatabaseUnavailable: nobody could be asked.
        """
        if type_ == DEFAULT_TYPE:
            return
        if time.monotonic() - self._read_at < TRUST_SECONDS:
            try:
                self._judge(type_, details)
            except (TypeUnknown, PayloadInvalid):
                log.debug("a second look before a refusal", type=type_)
            else:
                return
        self._read()
        self._judge(type_, details)

    def _judge(self, type_: str, details: dict[str, Any] | None) -> None:
        types = self._types
        if type_ not in types:
            known = sorted({DEFAULT_TYPE, *types})
            near = difflib.get_close_matches(type_, known, n=1)
            raise TypeUnknown(known, near[0] if near else None)
        validator = types[type_]
        found = complaints(validator, details or {}) if validator else []
        if found:
            raise PayloadInvalid(found)

    def _read(self) -> None:
        began = time.monotonic()
        query = select(TaskType.name, TaskType.payload_schema)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        self._types = {row.name: _validator(row.name, row.payload_schema) for row in rows}
        self._read_at = began


def _validator(type_: str, schema: Any) -> Validator | None:
    """Return what to hold payloads against; None where the worker alone is to judge."""
    try:
        return make_validator(schema) if schema else None
    except ValueError as error:
        log.warning("schema cannot be used", type=type_, reason=str(error))
        return None
