"""API keys: what ``API_KEYS`` holds of them, and ``python -m src.keys NAME SCOPE`` to make one.

The setting holds hashes only. SHA-256 without salt or stretching is enough: a key is 256 random
bits and no password, so there is nothing to guess.
"""

import argparse
import hashlib
import hmac
import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

#: So that a key which got somewhere it does not belong is known for what it is.
PREFIX = "tq_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HASH = re.compile(r"[0-9a-fA-F]{64}")


class Scope(StrEnum):
    """What a key may do. Each may do what those before it may."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    def covers(self, needed: "Scope") -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class ApiKey:
    """A key as the service knows it: whose it is, what it may do, and its SHA-256."""

    name: str
    scope: Scope
    digest: bytes = field(repr=False)

    def entry(self) -> str:
        """Return what goes into ``API_KEYS`` for it."""
        return f"{self.name}:{self.scope}:{self.digest.hex()}"


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """Read ``name:scope:hash`` entries, separated by commas or line breaks; # begins a comment.

    A name may have several keys, for as long as one replaces the other.

    Raises:
        ValueError: names the entry by its number; what it holds may be a key.
    """
    lines = (line.partition("#")[0] for line in text.splitlines())
    entries = [entry.strip() for line in lines for entry in line.split(",") if entry.strip()]
    keys = tuple(_parse(number, entry) for number, entry in enumerate(entries, start=1))
    if len({key.digest for key in keys}) < len(keys):
        raise ValueError("two entries have the same hash; leave one of them out")
    return keys


def _parse(number: int, entry: str) -> ApiKey:
    parts = entry.split(":")
    if len(parts) != 3:
        raise ValueError(f"entry {number} is not name:scope:hash")
    name, scope, written = parts
    if not _NAME.fullmatch(name):
        raise ValueError(f"entry {number}: a name is 1 to 64 letters, digits and _ . -")
    if scope not in list(Scope):
        raise ValueError(f"entry {number}: the scope must be one of {', '.join(Scope)}")
    if not _HASH.fullmatch(written):
        raise ValueError(f"entry {number}: the hash must be 64 hexadecimal digits, not the key")
    return ApiKey(name, Scope(scope), bytes.fromhex(written))


def find_key(keys: Sequence[ApiKey], presented: bytes) -> ApiKey | None:
    """Return the key that was presented; how long it takes tells nothing of which came near."""
    digest = hashlib.sha256(presented).digest()
    found = None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            found = key
    return found


def new_key(name: str, scope: Scope) -> tuple[str, ApiKey]:
    """Make a key; return it and what the service is to know of it."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, ApiKey(name, scope, hashlib.sha256(key.encode()).digest())


def main() -> int:
    """Print a new key, and its entry for ``API_KEYS``."""
    parser = argparse.ArgumentParser(prog="python -m src.keys", description=main.__doc__)
    parser.add_argument("name", help="whose it is: shown in logs and on tasks")
    parser.add_argument("scope", choices=[str(scope) for scope in Scope])
    arguments = parser.parse_args()
    if not _NAME.fullmatch(arguments.name):
        parser.error("NAME is 1 to 64 letters, digits and _ . -")
    key, known = new_key(arguments.name, Scope(arguments.scope))
    # Two lines and nothing else, for scripts. The key itself is kept nowhere.
    print(f"key: {key}")  # noqa: T201 - for who asked for it
    print(f"entry for API_KEYS: {known.entry()}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
