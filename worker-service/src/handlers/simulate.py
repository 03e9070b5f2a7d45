"""Simulated work: waits, and fails where the task's metadata asks for it. For demos and tests."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.contract import DEFAULT_TYPE
from src.handlers.context import Context
from src.handlers.declare import Handler

#: A longer wait than this is cut; it would only hold a slot.
MAX_SECONDS = 86_400.0
#: Work that takes a second or longer reports its progress in so many steps.
STEPS = 10


class SimulatedError(Exception):
    """The task asked for it."""


@dataclass(frozen=True)
class Plan:
    """What ``metadata.simulate`` asks for; of another shape it is plain data and ignored."""

    seconds: float
    fail_attempts: int = 0
    error: str = "simulated failure"

    @classmethod
    def read(cls, details: Any, default_seconds: float) -> "Plan":
        wish = details.get("simulate") if isinstance(details, dict) else None
        if not isinstance(wish, dict):
            return cls(default_seconds)
        seconds, fails, error = (wish.get(k) for k in ("seconds", "fail_attempts", "error"))
        usable = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        return cls(
            seconds=min(max(float(seconds or 0), 0.0), MAX_SECONDS) if usable else default_seconds,
            fail_attempts=fails if isinstance(fails, int) else 0,
            error=error if isinstance(error, str) else cls.error,
        )


def make_simulate(work_seconds: float, work_log: Path | None) -> Handler:
    """Make the handler of the type that is always known."""

    def simulate(details: Any, context: Context) -> dict[str, float]:
        plan = Plan.read(details, work_seconds)
        _note(work_log, context.task_id, "start")
        _wait(plan.seconds, context)
        if context.attempt <= plan.fail_attempts:
            raise SimulatedError(plan.error)
        _note(work_log, context.task_id, "done")
        return {"slept_seconds": plan.seconds}

    return Handler(
        DEFAULT_TYPE,
        simulate,
        description="Simulated work: waits, and fails where metadata.simulate asks for it.",
    )


def _wait(seconds: float, context: Context) -> None:
    steps = STEPS if seconds >= 1 else 1
    for step in range(1, steps + 1):
        if seconds > 0:
            context.cancelled.wait(seconds / steps)
        context.raise_if_cancelled()
        if steps > 1:
            context.progress(100 * step / steps)


def _note(work_log: Path | None, task_id: str, what: str) -> None:
    if work_log is None:
        return
    line = f"{task_id}\t{what}\t{os.getpid()}\t{time.time():.3f}\n"
    # One write of an append: lines of several workers do not mix.
    descriptor = os.open(work_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
