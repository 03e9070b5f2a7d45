"""Handlers that run in processes of their own, for ``test_integration_process.py``."""

import asyncio
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from typing import Any

from pydantic import BaseModel

from src.handlers import Context, Permanent, handler


class Job(BaseModel):
    n: int = 0


@handler("double", payload=Job, process=True)
def double(job: Job, context: Context) -> dict[str, Any]:
    context.progress(50, "half")
    context.log.info("doubling", n=job.n)
    print("to standard output")  # noqa: T201
    return {"n": 2 * job.n, "pid": os.getpid(), "parent": os.getppid(), "stdin": sys.stdin.read()}


@handler("double-async", payload=Job, process=True)
async def double_async(job: Job, _context: Context) -> int:
    await asyncio.sleep(0)
    return 2 * job.n


@handler("two-steps", process=True)
def two_steps(_payload: Any, context: Context) -> None:
    context.progress(10)
    context.progress(20, "waiting")
    time.sleep(1000)


@handler("refuse", process=True)
def refuse(_payload: Any, _context: Context) -> None:
    raise Permanent("no \ud800 way")


@handler("segfault", process=True)
def segfault(_payload: Any, _context: Context) -> None:
    ctypes.string_at(0)


@handler("leave", process=True)
def leave(_payload: Any, _context: Context) -> None:
    os._exit(3)


@handler("killed", process=True)
def killed(_payload: Any, _context: Context) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@handler("forked", process=True)
def forked(payload: dict[str, str], _context: Context) -> None:
    """Die and leave a fork, which has all that was open here."""
    pid = os.fork()
    if pid == 0:
        if payload.get("leave"):
            os.setsid()
        time.sleep(1000)
    with open(payload["file"], "w") as file:
        file.write(f"{pid}")
    os._exit(5)


@handler("family", process=True)
def family(payload: dict[str, str], context: Context) -> None:
    """Start a child that would outlive its parent, write its number down, wait for ever."""
    child = subprocess.Popen(["sleep", "1000"])
    with open(payload["file"], "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    context.progress(1)
    time.sleep(1000)


@handler("wedge", process=True)
def wedge(payload: dict[str, str], context: Context) -> None:
    """Hold the interpreter lock for ever, inside one call of the regular expressions' engine."""
    with open(payload["file"], "w") as file:
        file.write(f"{os.getpid()}")
    context.progress(1)
    re.fullmatch("(a+)+b", "a" * 64)
