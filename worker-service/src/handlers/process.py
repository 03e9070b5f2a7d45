"""Runs an attempt in a process of its own, which can be killed at any moment.

Started afresh for each attempt and never forked: a fork of a process with threads inherits locks
that nobody releases. The child gets the task as JSON on its standard input, which stays open for
as long as we live, and answers in lines of JSON on a pipe of its own (``child.py``).
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import IO, Any

import structlog

from src.handlers.context import Context
from src.handlers.declare import Handler
from src.outcome import Failure, Outcome, ProcessLost, Released, Success

log = structlog.get_logger(__name__)

#: Seconds until a task is run again for which no process could be started.
START_AGAIN_SECONDS = 5.0
#: Seconds for a killed process to be gone.
END_SECONDS = 5.0
#: The same search path as ours, whatever folder we were started from.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from src.handlers.child import main; main(int(sys.argv[2]))"
)


def call_in_process(
    handler: Handler, details: Any, context: Context, *, log_format: str, log_level: str
) -> Outcome:
    """Run the handler in a child; kill it, and what it started, when told to stop."""
    request = {
        "module": handler.function.__module__,
        "type": handler.name,
        "details": details,
        "task_id": context.task_id,
        "attempt": context.attempt,
        "title": context.title,
        "description": context.description,
        "seconds": context.remaining_seconds(),
        "parent": os.getpid(),
        "log_format": log_format,
        "log_level": log_level,
    }
    try:
        child, lines = _start()
    except OSError as error:
        return Released(f"no process could be started: {error}", delay_seconds=START_AGAIN_SECONDS)
    with lines:
        try:
            threading.Thread(target=_bury, args=[child], name="child-watch", daemon=True).start()
            with context.cancelled.calling(lambda: _kill_group(child)):
                _ask(child, request)
                return _listen(lines, context) or ProcessLost(_how(child))
        finally:
            _end(child)


def _start() -> tuple[subprocess.Popen[bytes], IO[str]]:
    """Start a child; return it with the end of the pipe that its answers come from.

    The kernel kills it when the thread that started it ends; so a slot's thread stays until then.
    """
    answers, answer_to = os.pipe()
    try:
        child = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(answer_to)],
            stdin=subprocess.PIPE,
            pass_fds=[answer_to],
            # A group of its own: killed as a whole, and not reached by Ctrl-C in a terminal.
            start_new_session=True,
        )
    except BaseException:
        os.close(answers)
        raise
    finally:
        os.close(answer_to)
    return child, open(answers, encoding="utf-8")


def _bury(child: subprocess.Popen[bytes]) -> None:
    """Kill what a child leaves behind when it dies: a fork of it would keep the pipe open."""
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        _kill_group(child)


def _ask(child: subprocess.Popen[bytes], request: Mapping[str, Any]) -> None:
    assert child.stdin  # noqa: S101 - for the type checker
    # A child that died at once is told from what it did not answer.
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()


def _listen(lines: IO[str], context: Context) -> Outcome | None:
    """Pass on what the child reports until it has an outcome; None if it ends without one."""
    for line in lines:
        if not line.endswith("\n"):
            return None
        said = json.loads(line)
        if "progress" in said:
            context.progress(**said["progress"])
        elif "result" in said:
            return Success(**said["result"])
        else:
            return Failure(**said["failure"])
    return None


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    # Gone already, or under another user's name.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _how(child: subprocess.Popen[bytes]) -> str:
    """Tell how a child ended that gave no outcome: its pipe closes just before it is gone."""
    try:
        code = child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        return "closed its answers without an outcome"
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"was killed by {names.get(-code, f'signal {-code}')}"
    return f"exited with code {code} and no outcome"


def _end(child: subprocess.Popen[bytes]) -> None:
    """Leave nothing of it, nor of what it started."""
    _kill_group(child)
    if child.stdin:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
    try:
        child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        log.warning("process cannot be killed", pid=child.pid)
