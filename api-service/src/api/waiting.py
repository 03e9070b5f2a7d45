"""Requests that wait: for how long, and what is done meanwhile and afterwards."""

import asyncio
import re
from typing import Annotated

from fastapi import Depends, Header, Query, Request
from sqlalchemy import RowMapping

from src.api.values import ABSENT
from src.services.runtime import Runtime
from src.services.watcher import WatchesExhausted

MAX_WAIT_SECONDS = 60

_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,9})\"?", re.IGNORECASE)


class Wait:
    """For how long a client wants to wait, in seconds; 0 for an answer at once."""

    def __init__(self, seconds: float, *, is_preference: bool) -> None:
        self.seconds = seconds
        self._is_preference = is_preference
        #: Unset where too many wait already.
        self.is_heeded = True

    def applied(self) -> dict[str, str]:
        """Return the header that says that a preference was heeded (RFC 7240)."""
        if not (self._is_preference and self.is_heeded):
            return {}
        return {"Preference-Applied": f"wait={self.seconds:g}"}


NO_WAIT = Wait(0, is_preference=False)


async def _wait(
    request: Request,
    wait: Annotated[
        float,
        Query(
            ge=0,
            le=MAX_WAIT_SECONDS,
            allow_inf_nan=False,
            description="Seconds to wait for the task to be final, instead of `Prefer: wait=N`",
        ),
    ] = ABSENT,
    prefer: Annotated[
        str,
        Header(
            alias="Prefer",
            description=f"`wait=N`: wait up to N seconds, at most {MAX_WAIT_SECONDS} (RFC 7240)",
        ),
    ] = ABSENT,
) -> Wait:
    if wait is not None:
        return Wait(wait, is_preference=False)
    # A preference that makes no sense is none, and no error. ``prefer`` is the first line of the
    # header, which may have several.
    given = ",".join(request.headers.getlist("prefer")) if prefer else ""
    for preference in given.split(","):
        if found := _WAIT.fullmatch(preference.partition(";")[0].strip()):
            return Wait(min(int(found[1]), MAX_WAIT_SECONDS), is_preference=True)
    return NO_WAIT


WaitDep = Annotated[Wait, Depends(_wait)]


async def until_final(
    request: Request, runtime: Runtime, task_id: str, wait: Wait
) -> RowMapping | None:
    """Wait for a task to be final; return its row, or None if it is not so in time.

    None too where too many wait already, and at once where the client has gone.
    """
    # Who waits takes no part of what the service does at a time.
    request.state.give_way()
    gone = asyncio.ensure_future(_until_gone(request))
    final = asyncio.ensure_future(runtime.watcher.until_final(task_id, wait.seconds))
    try:
        await asyncio.wait({gone, final}, return_when=asyncio.FIRST_COMPLETED)
        return final.result() if final.done() else None
    except WatchesExhausted:
        wait.is_heeded = False
        return None
    finally:
        gone.cancel()
        final.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
