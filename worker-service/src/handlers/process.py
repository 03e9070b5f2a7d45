"""Runs an attempt in a process of its own, which can be killed at any moment.

Started afresh for each attempt and never forked: a fork of a process with threads inherits locks
that nobody releases. The child gets the task as JSON on its standard input, which stays open for
as long as we live, and answers with JSON on a pipe of its own (``child.py``).
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import structlog

from src.handlers.child import SIGNALS
from src.handlers.context import Context
from src.handlers.declare import Handler
from src.outcome import Failure, Outcome, ProcessLost, Released, Success

log = structlog.get_logger(__name__)

#: Seconds until a task is run again for which no process could be started.
START_AGAIN_SECONDS = 30.0
#: Seconds between two looks at a child that says nothing.
LOOK_SECONDS = 0.5
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
        child, answers = _start()
    except OSError as error:
        log.warning("no process could be started", reason=str(error), task_id=context.task_id)
        return Released(f"no process could be started: {error}", delay_seconds=START_AGAIN_SECONDS)
    with answers:
        try:
            with context.cancelled.calling(lambda: _kill_group(child)):
                _ask(child, request)
                return _listen(child, answers, context) or ProcessLost(_how(child))
        finally:
            _end(child)


def _start() -> tuple[subprocess.Popen[bytes], Connection]:
    """Start a child; return it with the end of the pipe that its answers come from.

    The kernel kills it when the thread that started it ends; so a slot's thread stays until then.
    """
    answers, answer_to = Pipe(duplex=False)
    # Until the child has functions for them: its imports take a while.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        child = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(answer_to.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[answer_to.fileno()],
            # A group of its own: killed as a whole, and not reached by Ctrl-C in a terminal.
            start_new_session=True,
        )
    except BaseException:
        answers.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        answer_to.close()
    return child, answers


def _ask(child: subprocess.Popen[bytes], request: Mapping[str, Any]) -> None:
    assert child.stdin  # noqa: S101 - for the type checker
    # A child that died at once is told from what it did not answer.
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()


def _listen(
    child: subprocess.Popen[bytes], answers: Connection, context: Context
) -> Outcome | None:
    """Pass on what the child reports until it has an outcome; None if it ends without one.

    Its end is looked at too: a fork of it that lives on keeps the pipe open.
    """
    while True:
        is_over = child.poll() is not None
        if not answers.poll(LOOK_SECONDS):
            if is_over:
                return None
            continue
        try:
            said = json.loads(answers.recv_bytes())
        except (EOFError, OSError):
            return None
        if "progress" in said:
            context.progress(**said["progress"])
        elif "result" in said:
            return Success(**said["result"])
        else:
            return Failure(**said["failure"])


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
