"""What is written in one turn of the event loop goes out at once."""

import asyncio
from collections.abc import Callable
from typing import Any

from src.server import JoinedWrites


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
