"""Handlers in processes of their own, with real processes."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from src.handlers.context import Context
from src.handlers.load import load_handlers
from src.handlers.process import call_in_process
from src.outcome import Failure, Outcome, ProcessLost, Progress, Released, Success

HANDLERS = load_handlers(["task_functions"], {})


def context(**more: Any) -> Context:
    return Context("t", 1, "work", "Title", "What", time.monotonic() + 60, **more)


def run(name: str, details: Any = None, mine: Context | None = None) -> Outcome:
    return call_in_process(
        HANDLERS[name], details, mine or context(), log_format="json", log_level="INFO"
    )


def gone(pid: int) -> bool:
    """Tell whether a process has ended (a zombie has)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 10
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < deadline, [pid for pid in pids if not gone(pid)]
        time.sleep(0.02)


def test_a_result_comes_back_and_so_do_progress_and_logs(
    capfd: pytest.CaptureFixture[str],
) -> None:
    mine = context()

    outcome = run("double", {"n": 21}, mine)

    assert isinstance(outcome, Success)
    assert outcome.result["n"] == 42
    assert outcome.result["pid"] != outcome.result["parent"]
    assert outcome.result["stdin"] == ""
    assert mine.latest == Progress(50, "half")
    out, err = capfd.readouterr()
    assert out == "to standard output\n"
    assert '"task_id": "t"' in err


def test_an_async_handler_runs_there_too() -> None:
    assert run("double-async", {"n": 2}) == Success(4)


def test_a_payload_that_does_not_fit_fails_for_good() -> None:
    outcome = run("double", {"n": "many"})

    assert isinstance(outcome, Failure)
    assert outcome.permanent


def test_an_exception_comes_back_with_its_kind_and_traceback() -> None:
    outcome = run("refuse")

    assert isinstance(outcome, Failure)
    assert outcome.permanent
    assert outcome.error.startswith("Permanent: no ")
    assert "in refuse" in outcome.traceback


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("segfault", "was killed by SIGSEGV"),
        ("killed", "was killed by SIGKILL"),
        ("leave", "exited with code 3 and no outcome"),
    ],
)
def test_a_process_that_dies_is_an_outcome_and_nothing_else(name: str, how: str) -> None:
    assert run(name) == ProcessLost(how)


@pytest.mark.parametrize("leave", ["", "the group"])
def test_a_death_is_noticed_also_where_a_fork_lives_on(tmp_path: Path, leave: str) -> None:
    file = tmp_path / "pids"

    outcome = run("forked", {"file": str(file), "leave": leave})

    assert outcome == ProcessLost("exited with code 5 and no outcome")
    if leave:
        os.kill(int(file.read_text()), signal.SIGKILL)
    wait_until_gone(int(file.read_text()))


def test_the_latest_progress_comes_also_soon_after_another() -> None:
    both = threading.Event()

    def report(progress: Progress) -> None:
        if progress == Progress(20, "waiting"):
            both.set()

    mine = context(report=report)
    threading.Thread(target=run, args=["two-steps", None, mine]).start()

    came = both.wait(20)
    mine.cancelled.set()

    assert came


def test_where_no_process_can_be_started_the_attempt_is_given_back() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        outcome = run("double")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert isinstance(outcome, Released)
    assert outcome.delay_seconds
    assert "no process could be started" in outcome.reason


@pytest.mark.parametrize("name", ["family", "wedge"])
def test_being_told_to_stop_kills_the_process_and_what_it_started(
    name: str, tmp_path: Path
) -> None:
    started = threading.Event()
    mine = context(report=lambda _progress: started.set())
    file = tmp_path / "pids"

    def tell() -> None:
        started.wait(20)
        mine.cancelled.set()

    threading.Thread(target=tell).start()

    outcome = run(name, {"file": str(file)}, mine)

    assert isinstance(outcome, ProcessLost)
    wait_until_gone(*map(int, file.read_text().split()))


def test_what_is_told_to_stop_before_it_starts_does_not_start() -> None:
    mine = context()
    mine.cancelled.set()

    assert isinstance(run("family", {"file": "/dev/null"}, mine), ProcessLost)


@pytest.mark.parametrize("name", ["family", "wedge"])
def test_it_dies_with_its_parent(name: str, tmp_path: Path) -> None:
    """Also where it holds the interpreter lock, so that no thread of its own can notice."""
    file = tmp_path / "pids"
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import test_integration_process as t\n"
        f"t.run({name!r}, {{'file': {str(file)!r}}})\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[1])
    deadline = time.monotonic() + 20
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)

    parent.kill()
    parent.wait(10)

    wait_until_gone(int(file.read_text().split()[0]))
    if name == "family":
        subprocess.run(["kill", "-9", file.read_text().split()[1]], check=True)
