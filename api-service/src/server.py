"""The protocol that uvicorn speaks, with one system call less for each answer."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class JoinedWrites:
    """A transport that writes at once what is written in one turn of the event loop.

    The server writes the head and the body of an answer apart, and each write is a system call.
    Joined, they take a fifth less of the event loop's time for a submission (./dev bench).
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parts: list[bytes] = []
        self._call_soon = asyncio.get_running_loop().call_soon

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._call_soon(self.flush)
        self._parts.append(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        parts, self._parts = self._parts, []
        # The client may have gone since.
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))


class HttpProtocol(HttpToolsProtocol):
    """What ``uvicorn.run`` is given."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._joined = JoinedWrites(transport)
        super().connection_made(self._joined)  # type: ignore[arg-type]

    def eof_received(self) -> None:
        # A client that sends no more may still read (nc -N does, and some probes), and the real
        # transport closes itself right after this.
        self._joined.flush()
