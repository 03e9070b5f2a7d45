"""The other side of ``process.py``: one attempt, in a process of its own."""

import contextlib
import ctypes
import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from src.handlers.call import call
from src.handlers.context import Context
from src.handlers.load import handlers_of
from src.logs import set_up_logging
from src.outcome import Failure, Outcome, Progress, Success, describe

#: What asks the worker to stop, and is no business of ours.
SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Seconds between two messages of progress.
REPORT_SECONDS = 0.1
#: From ``linux/prctl.h``.
_PR_SET_PDEATHSIG = 1


def main(answer_to: int) -> None:
    """Read a task from standard input, run it, answer on the pipe ``answer_to``, end."""
    faulthandler.enable()
    request = json.loads(sys.stdin.buffer.readline())
    _die_with(request["parent"])
    _die_first()
    _leave_signals_to_the_worker()
    # What the handler starts must not keep the pipe open.
    os.set_inheritable(answer_to, False)
    set_up_logging(request["log_format"], request["log_level"])
    answers, ours = _Answers(answer_to), os.getpid()
    outcome = _run(request, answers.report)
    if os.getpid() != ours:
        # A fork of the handler's that came back: the answer is its parent's.
        os._exit(0)
    # The handler may have closed them.
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    answers.end(outcome)
    # Threads of the handler's must not keep it.
    os._exit(0)


class _Answers:
    """The pipe to the worker: a message of JSON for each progress, and one for the outcome."""

    def __init__(self, descriptor: int) -> None:
        self._pipe = Connection(descriptor, readable=False)
        self._lock = threading.Lock()
        self._latest: Progress | None = None
        self._said_at = float("-inf")
        self._reported = threading.Event()
        threading.Thread(target=self._pass_on, name="progress", daemon=True).start()

    def report(self, progress: Progress) -> None:
        """Pass it on: at once, or together with what follows, if one was just before."""
        self._latest = progress
        if time.monotonic() - self._said_at > REPORT_SECONDS:
            self._say_latest()
        else:
            self._reported.set()

    def end(self, outcome: Outcome) -> None:
        self._say_latest()
        self._say({"result" if isinstance(outcome, Success) else "failure": vars(outcome)})

    def _pass_on(self) -> None:
        pause = threading.Event()
        while True:
            self._reported.wait()
            pause.wait(REPORT_SECONDS)
            self._reported.clear()
            self._say_latest()

    def _say_latest(self) -> None:
        self._said_at = time.monotonic()
        if self._latest:
            self._say({"progress": vars(self._latest)})

    def _say(self, said: dict[str, Any]) -> None:
        with self._lock:
            self._pipe.send_bytes(json.dumps(said).encode())


def _run(request: dict[str, Any], report: Callable[[Progress], None]) -> Outcome:
    try:
        found = handlers_of(import_module(request["module"]))
        [handler] = [h for h in found if h.name == request["type"]]
    except BaseException as error:  # noqa: BLE001 - it is somebody else's code
        return Failure(f"the handler cannot be loaded: {describe(error)}")
    context = Context(
        task_id=request["task_id"],
        attempt=request["attempt"],
        type=request["type"],
        title=request["title"],
        description=request["description"],
        ends_at=time.monotonic() + request["seconds"],
        report=report,
    )
    return call(handler, request["details"], context)


def _die_with(parent: int) -> None:
    """Make sure that nothing runs here after the worker has died, also by a kill.

    The kernel's signal reaches a handler that never lets go of the interpreter; where there is no
    such signal the end of standard input does. What the handler starts finds an empty one.
    """
    life = os.dup(0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_die_at_the_end_of, args=[life], daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _die_at_the_end_of(pipe: int) -> None:
    while os.read(pipe, 1024):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def _die_first() -> None:
    """Have the kernel choose us before the worker when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _leave_signals_to_the_worker() -> None:
    """Live through a stop that was sent to all processes: the worker has its grace period.

    With functions that do nothing and not ignored: that, what the handler starts would inherit.
    """
    for number in SIGNALS:
        signal.signal(number, lambda _number, _frame: None)
    # But a fork keeps them, and a pool ends its processes with SIGTERM.
    os.register_at_fork(after_in_child=_heed_signals)
    # The worker started us with them held back.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _heed_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
