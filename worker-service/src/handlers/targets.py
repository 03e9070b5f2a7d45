"""Which hosts may be called, and at which addresses: every request of ours outside passes here.

A name is looked up once, all of its addresses are judged, and the connection goes to one that was:
a name that leads elsewhere a moment later gains nothing.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx2

from src.handlers.errors import Permanent
from src.hosts import AllowedHost

DEFAULT_PORTS = {"http": 80, "https": 443}
#: Where IPv6 networks reach IPv4 addresses, which are the last four bytes (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")
#: All of IPv6 that is given out for use on the internet.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
#: Not the internet's, though ``ipaddress`` says so: what each cloud answers its own machines under
#: (Azure, Oracle; Python before 3.13 takes only a part of 192.0.0.0/24 for private), and documents.
_NOT_PUBLIC = (
    IPv4Network("168.63.129.16/32"),
    IPv4Network("192.0.0.0/24"),
    IPv6Network("3fff::/20"),
)

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class NotFound(Exception):
    """The name of the host cannot be looked up now."""


@dataclass(frozen=True)
class Target:
    """A URL that may be called, and the addresses of its host, which were judged.

    ``named``: the host stands in the settings in full. ``trusted``: with its port even.
    """

    url: httpx2.URL
    host: str
    addresses: Sequence[Address]
    named: bool
    trusted: bool


async def find_target(url: str, allowed: Iterable[AllowedHost], resolve: Resolve) -> Target:
    """Judge a URL and look its host up.

    Raises:
        Permanent: it must not be called; says why, without addresses.
        NotFound: the name cannot be looked up.
    """
    parsed = _parse(url)
    host = parsed.raw_host.decode("ascii").lower().rstrip(".")
    port = DEFAULT_PORTS[parsed.scheme] if parsed.port is None else parsed.port
    entries = [entry for entry in allowed if entry.matches(host, port)]
    if not entries:
        raise Permanent(f"{host}:{port} is not in HTTP_ALLOWED_HOSTS")
    named = [entry for entry in entries if not entry.is_pattern]
    trusted = any(entry.port for entry in named)
    addresses = [ip_address(found) for found in await resolve(host, port)]
    if not addresses:
        raise NotFound(f"{host} has no address")
    if not trusted and not all(map(is_public, addresses)):
        raise Permanent(
            f"{host} leads to an address that is not public; where that is meant, "
            f"HTTP_ALLOWED_HOSTS must name {host}:{port}"
        )
    return Target(parsed, host, addresses, bool(named), trusted)


def is_public(address: Address) -> bool:
    """Tell whether an address is somebody's on the internet, by what it leads to in the end."""
    embedded = _embedded(address)
    if embedded is not None:
        return is_public(embedded)
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


async def look_up(host: str, port: int) -> Sequence[str]:
    """Ask the system for all addresses of a host; of spelled ones, in whatever way, for the usual.

    Raises:
        NotFound: there is none, or nobody answers.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotFound(f"the name {host} cannot be looked up") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _parse(url: str) -> httpx2.URL:
    """Read a URL as the client will: two readers that differ are a way around the rules."""
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        raise Permanent("the URL cannot be read") from None
    if parsed.scheme not in DEFAULT_PORTS or not parsed.raw_host:
        raise Permanent("the URL must be http://… or https://… with a host")
    if parsed.userinfo:
        raise Permanent("the URL must not hold a user or password; use a header")
    return parsed


def _embedded(address: Address) -> Address | None:
    """Return the IPv4 address that an IPv6 one stands for."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
