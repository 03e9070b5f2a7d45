"""What ``HTTP_ALLOWED_HOSTS`` holds: the hosts that tasks may call."""

import re
from dataclasses import dataclass

#: Ports of a host that is named without one.
USUAL_PORTS = frozenset({80, 443})
_ENTRY = re.compile(
    r"(?P<name>\*|(\*\.)?[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])"
    r"(:(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True)
class AllowedHost:
    """``host``, ``*.domain`` (what lies below it) or ``*`` (all), each perhaps with a port."""

    name: str
    port: int | None = None

    @property
    def is_pattern(self) -> bool:
        return self.name.startswith("*")

    def matches(self, host: str, port: int) -> bool:
        """Tell whether a host, in lower case and without brackets, may be called at a port."""
        fits_host = host.endswith(self.name[1:]) if self.is_pattern else host == self.name
        fits_port = port == self.port if self.port else port in USUAL_PORTS
        return fits_host and fits_port


def parse_hosts(text: str) -> tuple[AllowedHost, ...]:
    """Read entries that are separated by commas or spaces.

    Raises:
        ValueError: one is none of the forms.
    """
    return tuple(_parse(entry) for entry in text.lower().replace(",", " ").split())


def _parse(entry: str) -> AllowedHost:
    match = _ENTRY.fullmatch(entry)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or port == 0 or (port or 0) > 65_535:
        raise ValueError(f"{entry!r} is not host, host:port, [address]:port, *.domain or *")
    return AllowedHost(match["name"].strip("[]").rstrip("."), port)
