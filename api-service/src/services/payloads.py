"""Holds a payload against a type's JSON Schema, and says what is wrong without its values."""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jsonschema_rs import RegexOptions, ValidationError, ValidationErrorKind, Validator
from jsonschema_rs import validator_for as compile_schema

from src.services.errors import Complaint

#: Wrong places that one answer names.
MAX_COMPLAINTS = 20
#: Beyond this, finding all of them may take a second: lists of many forms multiply.
LARGE_BYTES = 4096

_Place = Sequence[str | int]


def make_validator(schema: dict[str, Any]) -> Validator:
    """Compile a schema.

    Raises:
        ValueError: it is no schema, or refers to somewhere else.
    """
    return compile_schema(
        schema,
        # What stands in messages in place of the value.
        mask="it",
        # Takes time in proportion to the text, whatever the pattern.
        pattern_options=RegexOptions(),
        # References to elsewhere are not followed.
        offline=True,
        # Left to the worker: its model is often more generous than the standard.
        validate_formats=False,
    )


def is_recursive(schema: Any) -> bool:
    """Tell whether a schema leads back to itself.

    Then the errors of nested choices multiply with every level of the payload: some hundred bytes
    cost seconds and gigabytes. Whether it fits at all is told at once also there.
    """
    parts = schema.get("$defs", {}).items()
    inside = {f"#/$defs/{name}": _references(part) for name, part in parts}
    reached = {name: set(names) for name, names in inside.items()}
    for _ in inside:
        for names in reached.values():
            names.update(*(inside.get(name, ()) for name in list(names)))
    return "#" in _references(schema) or any(name in names for name, names in reached.items())


def _references(part: Any) -> set[str]:
    if isinstance(part, dict):
        here = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return here.union(*map(_references, part.values()))
    return set().union(*map(_references, part)) if isinstance(part, list) else set()


def complaints(validator: Validator, payload: dict[str, Any]) -> list[Complaint]:
    """Name each place where a payload does not fit, which it must not; of a large one the first."""
    errors: Iterable[ValidationError]
    if len(json.dumps(payload)) <= LARGE_BYTES:
        errors = validator.iter_errors(payload)
    else:
        errors = _first_error(validator, payload)
    found = itertools.chain.from_iterable(map(_explain, errors))
    return list(itertools.islice(found, MAX_COMPLAINTS))


def _first_error(validator: Validator, payload: dict[str, Any]) -> Iterator[ValidationError]:
    try:
        validator.validate(payload)
    except ValidationError as error:
        yield error


def _explain(error: ValidationError) -> Iterator[Complaint]:
    place, kind = error.instance_path, error.kind
    match kind:
        case ValidationErrorKind.Required():
            yield _complaint([*place, kind.property], "is required")
        case ValidationErrorKind.AdditionalProperties():
            for name in kind.unexpected:
                yield _complaint([*place, name], "unknown field")
        case ValidationErrorKind.AnyOf() | ValidationErrorKind.OneOfNotValid():
            yield from _explain_forms(kind.context, place)
        case ValidationErrorKind.Type():
            yield _complaint(place, f"must be of type {' or '.join(kind.types)}")
        case _:
            yield _complaint(place, error.message)


def _explain_forms(
    forms: Sequence[Sequence[ValidationError]], place: _Place
) -> Iterator[Complaint]:
    """Explain a value that fits none of several forms, such as "integer or null".

    Where it is of one form's type and fails further inside, that form was meant.
    """
    meant = [form for form in forms if not any(_is_other_type(error, place) for error in form)]
    if len(meant) == 1:
        for error in meant[0]:
            yield from _explain(error)
    elif meant:
        yield _complaint(place, "fits none of the forms that its type allows")
    else:
        types = [t for form in forms for error in form for t in _types(error, place)]
        yield _complaint(place, f"must be of type {' or '.join(dict.fromkeys(types))}")


def _is_other_type(error: ValidationError, place: _Place) -> bool:
    return bool(_types(error, place))


def _types(error: ValidationError, place: _Place) -> Sequence[str]:
    """Return the types that the value at this place should have had."""
    kind = error.kind
    here = list(error.instance_path) == list(place)
    return kind.types if here and isinstance(kind, ValidationErrorKind.Type) else []


def _complaint(place: _Place, message: str) -> Complaint:
    # Keys are a client's: as long as they like.
    return Complaint(".".join(str(part)[:100] for part in ["metadata", *place]), message)
