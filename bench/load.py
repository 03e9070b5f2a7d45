"""Closed-loop clients that submit tasks as cheaply as Python can; prints what they met as JSON.

    python bench/load.py PORT CLIENTS (--seconds S | --total N)

A process of its own that imports nothing of the project: it shares the cores with what it loads.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import sys
import time
from collections import Counter

with contextlib.suppress(ImportError):
    import uvloop

HOST = "127.0.0.1"
BODY = json.dumps(
    {
        "title": "Process an order",
        "description": "Reserve the stock and write the invoice",
        "metadata": {"order": 4711, "customer": "c-1042", "lines": [1, 2, 3]},
    }
).encode()
ACCEPTED = b"HTTP/1.1 202"
#: Seconds without any answer after which the system counts as stuck.
STALL_SECONDS = 20.0


def request(port: int) -> bytes:
    """Return the bytes of one submission over a connection that stays open."""
    head = (
        f"POST /api/tasks HTTP/1.1\r\nHost: {HOST}:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    return head.encode() + BODY


def is_whole(answer: bytes) -> bool:
    """Whether the bytes are one complete answer, which must tell its length."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    if not found:
        raise ValueError(f"an answer without Content-Length: {answer!r}")
    return len(body) >= int(rest.partition(b"\r\n")[0])


class Load:
    """What all clients share: when to stop, and what they have seen."""

    def __init__(self, port: int, seconds: float, total: int) -> None:
        self.request = request(port)
        self.left = total or sys.maxsize
        self.took: list[float] = []
        self.refused: Counter[str] = Counter()
        self.done = asyncio.Event()
        self.cpu_began = time.process_time()
        self.began = time.monotonic()
        self.deadline = self.began + seconds if seconds else float("inf")

    def ended(self, ended_at: float) -> bool:
        return self.left <= 0 or ended_at >= self.deadline

    def summary(self) -> dict[str, object]:
        seconds = time.monotonic() - self.began
        took = sorted(self.took)
        return {
            "requests": len(took),
            "began": self.began,
            "seconds": seconds,
            "rate": len(took) / seconds,
            "p50": 1000 * took[len(took) // 2],
            "p99": 1000 * took[int(len(took) * 0.99)],
            "max": 1000 * took[-1],
            "refused": dict(self.refused),
            "cpu_us": (time.process_time() - self.cpu_began) * 1e6 / len(took),
        }


class Client(asyncio.Protocol):
    """One connection with one request under way."""

    def __init__(self, load: Load, closed: asyncio.Event) -> None:
        self._load = load
        self._closed = closed
        self._answer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def send(self) -> None:
        load = self._load
        self._sent_at = time.monotonic()
        if load.ended(self._sent_at):
            self._transport.close()
            return
        load.left -= 1
        self._transport.write(load.request)

    def data_received(self, data: bytes) -> None:
        self._answer = answer = self._answer + data if self._answer else data
        if not is_whole(answer):
            return
        load = self._load
        load.took.append(time.monotonic() - self._sent_at)
        if not answer.startswith(ACCEPTED):
            load.refused[answer[9:12].decode()] += 1
        self._answer = b""
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        # One that the API closed answered nothing to what was sent.
        if not self._load.ended(time.monotonic()):
            self._load.refused["closed"] += 1
        self._closed.set()


async def run(port: int, clients: int, seconds: float, total: int) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    load = Load(port, seconds, total)
    closed = [asyncio.Event() for _ in range(clients)]
    protocols = []
    for event in closed:
        _, client = await loop.create_connection(lambda e=event: Client(load, e), HOST, port)  # type: ignore[misc]
        protocols.append(client)
    # Connecting is not what is measured.
    load.began = time.monotonic()
    load.deadline = load.began + seconds if seconds else float("inf")
    for client in protocols:
        client.send()
    everything = asyncio.gather(*(event.wait() for event in closed))
    answered = 0
    while not everything.done():
        await asyncio.wait([everything], timeout=STALL_SECONDS)
        if not everything.done() and len(load.took) == answered:
            raise TimeoutError(f"no answer within {STALL_SECONDS:g} s, after {answered} requests")
        answered = len(load.took)
    return load.summary()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("clients", type=int)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--total", type=int, default=0)
    wanted = parser.parse_args()
    if bool(wanted.seconds) == bool(wanted.total):
        parser.error("give either --seconds or --total")
    gc.freeze()
    gc.disable()
    main_ = run(wanted.port, wanted.clients, wanted.seconds, wanted.total)
    summary = uvloop.run(main_) if "uvloop" in sys.modules else asyncio.run(main_)
    print(json.dumps(summary))
    return 1 if summary["refused"] else 0


if __name__ == "__main__":
    sys.exit(main())
