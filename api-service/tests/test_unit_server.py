"""What is written in one turn of the event loop goes out at once."""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.server import ServerState

from src.server import HttpProtocol, JoinedWrites


class Transport:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("close")
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def told(deeds: Callable[[Any, Transport], None]) -> list[Any]:
    """Return what a transport is told by the end of the turn in which these deeds are done."""

    async def run() -> list[Any]:
        transport: Any = Transport()
        deeds(JoinedWrites(transport), transport)
        await asyncio.sleep(0)
        return list(transport.done)

    return asyncio.run(run())


def test_head_and_body_go_out_together() -> None:
    def deeds(joined: Any, transport: Transport) -> None:
        joined.write(b"head ")
        joined.write(b"body")
        assert transport.done == []

    assert told(deeds) == [b"head body"]


def test_what_was_written_goes_out_before_the_end() -> None:
    def deeds(joined: Any, _transport: Transport) -> None:
        joined.write(b"the last")
        joined.close()

    assert told(deeds) == [b"the last", "close"]


def test_nothing_is_written_to_a_client_that_has_gone() -> None:
    def deeds(joined: Any, transport: Transport) -> None:
        joined.write(b"too late")
        transport.close()

    assert told(deeds) == ["close"]


def test_each_turn_writes_its_own() -> None:
    async def run() -> list[Any]:
        transport: Any = Transport()
        joined: Any = JoinedWrites(transport)
        for event in (b"first", b"second"):
            joined.write(event)
            await asyncio.sleep(0)
        return list(transport.done)

    assert asyncio.run(run()) == [b"first", b"second"]


def test_a_client_that_sends_no_more_gets_its_answer() -> None:
    """Its end of stream makes the transport close itself, perhaps in the turn of the answer."""

    async def app(_scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok", "more_body": False})

    async def run() -> bytes:
        config = uvicorn.Config(app, log_config=None)
        listening = await asyncio.get_running_loop().create_server(
            lambda: HttpProtocol(config, ServerState(), {}), "127.0.0.1", 0
        )
        async with listening:
            address = listening.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return answer

    assert asyncio.run(run()).endswith(b"ok")
