"""A limit that costs nothing where nothing waits."""

import asyncio

import pytest

from src.api.within import within


async def at_once() -> str:
    return "done"


def test_what_does_not_wait_needs_no_timer() -> None:
    async def run() -> str:
        # A limit that has passed before anything began.
        return await within(-1, at_once())

    assert asyncio.run(run()) == "done"


def test_what_waits_too_long_is_cancelled() -> None:
    seen: list[str] = []

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(TimeoutError):
        asyncio.run(within(0.01, wait_for_ever()))
    assert seen == ["cancelled"]


def test_what_goes_wrong_while_it_waits_is_its_own_to_handle() -> None:
    async def wait_for(future: asyncio.Future[str]) -> str:
        try:
            return await future
        except ValueError as error:
            return f"handled {error}, then {await asyncio.sleep(0, 'went on')}"

    async def run() -> str:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        loop.call_soon(future.set_exception, ValueError("boo"))
        return await within(5, wait_for(future))

    assert asyncio.run(run()) == "handled boo, then went on"


def test_what_it_raises_is_raised() -> None:
    async def fail(waits: bool) -> None:
        if waits:
            await asyncio.sleep(0)
        raise ValueError("boo")

    for waits in (False, True):
        with pytest.raises(ValueError, match="boo"):
            asyncio.run(within(5, fail(waits)))
