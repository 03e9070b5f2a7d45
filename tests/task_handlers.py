"""Handlers for the tests of the whole system, loaded by real workers."""

import asyncio
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field
from src.handlers import Context, Permanent, RetryAfter, handler  # type: ignore[import-not-found]


class Sum(BaseModel):
    numbers: list[int] = Field(max_length=5)
    fail: str | None = None


@handler("sum", payload=Sum, max_attempts=2, backoff=0.1)
def add(payload: Sum, context: Context) -> dict[str, Any]:
    """Add numbers."""
    match payload.fail:
        case "permanent":
            raise Permanent("never")
        case "later":
            raise RetryAfter(3600, "tomorrow")
        case "error":
            raise ValueError("not like this")
        case "large":
            return {"text": "x" * 70_000}
    return {
        "sum": sum(payload.numbers),
        "seen": [context.title, context.description, context.type, context.attempt],
    }


@handler("add-async", payload=Sum)
async def add_async(payload: Sum, _context: Context) -> int:
    await asyncio.sleep(0.01)
    return sum(payload.numbers)


@handler("steps", max_attempts=2, backoff=0)
def steps(payload: Any, context: Context) -> None:
    """Report progress, then wait to be let go by a file."""
    if context.attempt == 1:
        context.progress(40, "nearly half")
    while not Path(payload["file"]).exists():
        context.raise_if_cancelled()
        time.sleep(0.02)
    context.progress(90, "at the end")


@handler("obedient", timeout_seconds=0.5, max_attempts=2, backoff=0.1)
def obedient(payload: Any, context: Context) -> None:
    """Wait until told to stop, and write down that it was."""
    context.cancelled.wait(60)
    with open(payload["file"], "a") as file:
        file.write(f"told {context.attempt}\n")


@handler("stubborn")
def stubborn(payload: Any, context: Context) -> str:
    """Heed nothing until a file appears."""
    while not Path(payload["file"]).exists():
        time.sleep(0.02)
    return "late"


@handler("own-process", process=True, backoff=0.1)
def own_process(payload: Any, context: Context) -> int:
    """Write down its pid, then do what it is told to."""
    pid = os.getpid()
    if "file" in payload:
        Path(payload["file"]).write_text(str(pid))
    match payload.get("do"):
        case "sleep":
            time.sleep(1000)
        case "wedge":
            hold_the_interpreter_lock()
        case "segfault":
            os.kill(pid, signal.SIGSEGV)
        case "once" if context.attempt == 1:
            os.kill(pid, signal.SIGKILL)
    return pid


@handler("poison")
def poison(_payload: Any, _context: Context) -> None:
    """Kill the worker that runs it."""
    os.kill(os.getpid(), signal.SIGKILL)


@handler("wedge")
def wedge(_payload: Any, _context: Context) -> None:
    hold_the_interpreter_lock()


@handler("thread-leak")
def thread_leak(_payload: Any, _context: Context) -> None:
    """Leave a thread that would keep the process for ever."""
    threading.Thread(target=time.sleep, args=[1000], daemon=False).start()


def hold_the_interpreter_lock() -> None:
    """Never let go of it: one call of the regular expressions' engine that takes for ever."""
    re.fullmatch("(a+)+b", "a" * 64)
