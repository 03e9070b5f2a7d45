"""Real receivers on loopback, polite and otherwise."""

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Behave = Callable[[socket.socket, "Receiver"], None]


@dataclass
class Receiver:
    """A port that answers every connection as it was told to. ``requests``: what it was sent."""

    host: str
    port: int
    requests: list[str] = field(default_factory=list)
    #: Set when it is to stop; those that never end look at it.
    stop: threading.Event = field(default_factory=threading.Event)
    #: Set once a connection ended under a receiver that goes on and on.
    left: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/hook", host: str = "") -> str:
        return f"http://{host or self.host}:{self.port}{path}"

    def headers(self) -> dict[str, str]:
        """Return the headers of the latest request, by their names in lower case."""
        lines = self.requests[-1].split("\r\n\r\n")[0].split("\r\n")[1:]
        pairs = [line.split(": ", 1) for line in lines]
        return {name.lower(): value for name, value in pairs}

    def body(self) -> str:
        return self.requests[-1].split("\r\n\r\n", 1)[1]


@contextlib.contextmanager
def receiver(
    behave: Behave, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """Listen, and have ``behave`` called with each connection and this receiver."""
    listener = socket.create_server((host, 0))
    listener.settimeout(0.1)
    here = Receiver(host, listener.getsockname()[1])

    def serve(connection: socket.socket) -> None:
        connection.settimeout(10)
        with contextlib.suppress(OSError), connection:
            if tls:
                with tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                ) as wrapped:
                    wrapped.do_handshake()
                    behave(wrapped, here)
            else:
                behave(connection, here)
        here.left.set()

    def accept() -> None:
        while not here.stop.is_set():
            with contextlib.suppress(TimeoutError):
                threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        here.stop.set()
        thread.join(5)
        listener.close()


def read_request(connection: socket.socket, here: Receiver) -> str:
    """Read one request whole, and note it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            raise OSError("no request")
        data += piece
    head = data.split(b"\r\n\r\n")[0].lower()
    length = int(head.split(b"content-length:")[1].split()[0]) if b"content-length:" in head else 0
    while len(data) < len(head) + 4 + length:
        data += connection.recv(65_536)
    here.requests.append(data.decode())
    return here.requests[-1]


def answering(answer: bytes) -> Behave:
    """Read the request, send these bytes, close."""

    def behave(connection: socket.socket, here: Receiver) -> None:
        read_request(connection, here)
        connection.sendall(answer)

    return behave


def written(status: str = "200 OK", body: bytes = b"", *headers: str) -> bytes:
    """Write an answer down."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def repeating(start: bytes, piece: Callable[[], bytes], pause_seconds: float = 0.0) -> Behave:
    """Send a start, then pieces without end until the other side is gone."""

    def behave(connection: socket.socket, here: Receiver) -> None:
        read_request(connection, here)
        connection.sendall(start)
        while not here.stop.wait(pause_seconds):
            connection.sendall(piece())

    return behave


def silent(connection: socket.socket, here: Receiver) -> None:
    """Take the request, say nothing, wait for the other side to go."""
    read_request(connection, here)
    connection.recv(1)


def certificate(folder: Path, name: str) -> Path:
    """Make a certificate for a name, signed by itself; return the file with it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    day, now = datetime.timedelta(days=1), datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file
