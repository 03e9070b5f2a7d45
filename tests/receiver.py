"""A receiver of HTTP on loopback, as a service of somebody's would be."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.local.servers import HOST


@dataclass(frozen=True)
class Received:
    """A request as it came; the names of headers are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


#: What to answer: a status, and headers.
Answer = tuple[int, Mapping[str, str]]


@dataclass
class Receiver:
    """What came to a port, in its order. ``answer`` decides what is answered to each."""

    port: int
    answer: Callable[[Received], Answer]
    received: list[Received] = field(default_factory=list)

    @property
    def host(self) -> str:
        """As ``HTTP_ALLOWED_HOSTS`` names it."""
        return f"{HOST}:{self.port}"

    def url(self, path: str = "/hook") -> str:
        return f"http://{self.host}{path}"


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Say nothing of those who are gone before they have their answer."""


@contextmanager
def receiver(
    answer: Callable[[Received], Answer] = lambda _received: (200, {}), port: int = 0
) -> Iterator[Receiver]:
    """Listen until the end of the block; the answer's body is that of the request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(length)
            if len(body) < length:
                # Who sent it died on the way: nothing was received.
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = Received(self.path, headers, body)
            here.received.append(received)
            status, more = here.answer(received)
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = _Server((HOST, port), Handler)
    server.daemon_threads = True
    here = Receiver(server.server_port, answer)
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
