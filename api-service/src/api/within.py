"""A limit for what mostly does not wait at all."""

import asyncio
import types
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, awaitable: Awaitable[T]) -> T:
    """Await something for at most so long.

    Only when it begins to wait a timer is made: one for each part of a request and of its answer
    would cost a submission a twentieth of its CPU, and nearly all are read and written at once.

    Raises:
        TimeoutError: it was still waiting, and was cancelled.
    """
    steps = awaitable.__await__()
    try:
        awaited = next(steps)
    except StopIteration as done:
        result: T = done.value
        return result
    async with asyncio.timeout(seconds):
        return await _rest(steps, awaited)


@types.coroutine
def _rest(steps: Generator[Any, Any, T], awaited: Any) -> Generator[Any, Any, T]:
    """Go on with what has begun to wait for something."""
    while True:
        try:
            try:
                came = yield awaited
            except BaseException as error:  # noqa: BLE001 - its own to handle
                awaited = steps.throw(error)
            else:
                awaited = steps.send(came)
        except StopIteration as done:
            result: T = done.value
            return result
