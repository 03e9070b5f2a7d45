"""What of JSON the databases can keep, checked before anything is stored."""

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

#: Bytes of a TEXT column, which are not characters.
MAX_DESCRIPTION_BYTES = 65_535
MAX_METADATA_BYTES = 64 * 1024
#: MariaDB refuses JSON deeper than 32; twenty leaves room for what wraps it.
MAX_METADATA_DEPTH = 20
TIME_HINT = (
    "must be a time as RFC 3339 has it, with a zone: 2026-01-23T04:17:34Z "
    "(in a URL a + is written %2B)"
)
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
_LATEST = datetime(9998, 1, 1, tzinfo=UTC)
#: Beyond this MySQL keeps an integer as a double, and it does not come back equal.
_INTEGERS = range(-(2**63), 2**64)


def storable_text(value: str) -> str:
    """Return the text, or raise ValueError for what no database keeps as it is."""
    if "\x00" in value:
        raise ValueError("must not contain the NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode; it holds a lone surrogate") from None
    return value


def not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def storable_description(value: str) -> str:
    size = len(value.encode())
    if size > MAX_DESCRIPTION_BYTES:
        raise ValueError(f"must have at most {MAX_DESCRIPTION_BYTES} bytes as UTF-8, has {size}")
    return value


def storable_object(value: dict[str, Any]) -> dict[str, Any]:
    """Return the object, or raise ValueError if it would not come back equal."""
    _check(value, MAX_METADATA_DEPTH)
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"must have at most {MAX_METADATA_BYTES} bytes as JSON, has {size}")
    return value


def _check(value: Any, levels: int) -> None:
    if isinstance(value, dict | list) and levels == 0:
        raise ValueError(f"must not be nested deeper than {MAX_METADATA_DEPTH} levels")
    match value:
        case dict():
            for key, item in value.items():
                storable_text(key)
                _check(item, levels - 1)
        case list():
            for item in value:
                _check(item, levels - 1)
        case str():
            storable_text(value)
        case float() if not math.isfinite(value):
            raise ValueError("numbers must be finite and within the range of a double")
        case int() if value not in _INTEGERS:
            raise ValueError("integers must fit into 64 bits; send larger ones as strings")


#: The default of what may be absent but not null.
ABSENT: Any = None


def rfc3339(value: object) -> object:
    """Return what is written as RFC 3339 has it, or raise ValueError."""
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        return value
    raise ValueError(TIME_HINT)


def instant(value: datetime) -> datetime:
    """Return a time with a zone as the tables keep it: UTC, without, to the millisecond.

    What lies far beyond every task is moved to a time that every database can compare with.
    """
    near = min(max(value, _EARLIEST), _LATEST)
    plain = near.astimezone(UTC).replace(tzinfo=None)
    return plain.replace(microsecond=plain.microsecond // 1000 * 1000)


def plain(value: datetime) -> str:
    """Write a time of the user's columns: UTC to the second, without a zone."""
    return value.strftime("%Y-%m-%dT%H:%M:%S")


def precise(value: datetime) -> str:
    """Write a time of the columns that are ours: RFC 3339, UTC, with milliseconds."""
    return value.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
