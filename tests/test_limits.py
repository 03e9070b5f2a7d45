"""Time limits, cancelling, and handlers that do not stop, or take their process down."""

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import System
from tests.local.servers import wait_until


def pid_in(file: Path) -> int:
    wait_until(lambda: file.exists() and bool(file.read_text()), 20, f"a pid in {file.name}")
    return int(file.read_text())


def gone(pid: int) -> bool:
    """Tell whether a process has ended; one that nobody collects has, too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


# --- limits ---------------------------------------------------------------------------------------


def test_at_its_limit_an_attempt_is_told_to_stop_counted_and_tried_again(
    system: System, tmp_path: Path
) -> None:
    system.start_worker()
    file = tmp_path / "told"

    task_id = system.client.run("obedient", {"file": str(file)})

    task = system.client.wait_for(task_id)
    assert (task["status"], task["errors"], task["crashes"]) == ("FAILED", 2, 0)
    assert task["error"] == "timeout: the attempt took longer than 0.5 s"
    assert system.tables.ledger(task_id) == [(1, "timeout"), (2, "timeout")]
    assert "cancelled.wait" in system.tables.attempts(task_id)[0]["traceback"]
    wait_until(lambda: file.read_text() == "told 1\ntold 2\n", 10, "the handler to be told")


def test_the_tasks_own_limit_goes_before_the_workers(system: System) -> None:
    system.start_worker(TASK_TIMEOUT_SECONDS="0.3", MAX_ATTEMPTS="1")

    by_setting, by_task = (
        system.client.simulate(5),
        system.client.run("simulate", {"simulate": {"seconds": 1}}, timeout_seconds=60),
    )

    assert system.client.wait_for(by_setting)["error"].endswith("longer than 0.3 s")
    assert system.client.wait_for(by_task)["status"] == "COMPLETED"


def test_a_thread_that_does_not_stop_loses_its_slot_and_its_late_result(
    system: System, tmp_path: Path
) -> None:
    worker = system.start_worker(WORKER_CONCURRENCY="3", LEASE_SECONDS="2")
    go = tmp_path / "go"

    task_id = system.client.run("stubborn", {"file": str(go)}, timeout_seconds=1, max_attempts=1)

    first = system.client.wait_for(task_id)
    assert (first["status"], system.tables.ledger(task_id)) == ("FAILED", [(1, "timeout")])
    wait_until(lambda: "thread abandoned" in worker.output(), 20, "its thread to be abandoned")
    # All three slots work: three tasks that wait for each other's start.
    busy = [system.client.simulate(3) for _ in range(3)]
    wait_until(
        lambda: {system.client.get(id_)["status"] for id_ in busy} == {"PROCESSING"}, 10, "three"
    )
    go.touch()
    wait_until(lambda: "its outcome was decided before" in worker.output(), 10, "the late result")
    assert system.client.wait_for_all(busy) == {"COMPLETED": 3}
    assert system.client.get(task_id) == first


def test_a_worker_that_lost_half_of_its_threads_drains_and_exits_non_zero(
    system: System, tmp_path: Path
) -> None:
    worker = system.start_worker(WORKER_CONCURRENCY="2", LEASE_SECONDS="1")
    file = str(tmp_path / "never")
    stuck = system.client.run("stubborn", {"file": file}, timeout_seconds=1, max_attempts=1)
    assert system.client.wait_for(stuck)["status"] == "FAILED"
    wait_until(lambda: "thread abandoned" in worker.output(), 20, "the thread to be abandoned")

    # It is running when the worker begins to stop, and has its grace period.
    healthy = system.client.simulate(6)
    system.work_log.wait_for_start(healthy)

    assert worker.wait(30) == 1
    task = system.client.get(healthy)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 1)
    assert system.tables.workers() == []


# --- processes of their own -----------------------------------------------------------------------


@pytest.mark.parametrize("what", ["sleep", "wedge"])
def test_a_process_is_killed_at_its_limit(system: System, tmp_path: Path, what: str) -> None:
    system.start_worker()
    file = tmp_path / "pid"

    task_id = system.client.run(
        "own-process", {"do": what, "file": str(file)}, timeout_seconds=1, max_attempts=1
    )

    assert system.client.wait_for(task_id)["status"] == "FAILED"
    assert system.tables.ledger(task_id) == [(1, "timeout")]
    wait_until(lambda: gone(pid_in(file)), 10, "the process to be gone")


def test_a_process_that_dies_costs_one_crash_and_the_worker_nothing(system: System) -> None:
    worker = system.start_worker()
    beside = [system.client.simulate(1) for _ in range(4)]

    once = system.client.run("own-process", {"do": "once"})
    always = system.client.run("own-process", {"do": "segfault"})

    task = system.client.wait_for(once)
    assert (task["status"], task["attempt"], task["crashes"]) == ("COMPLETED", 2, 1)
    assert system.tables.attempts(once)[0]["error"] == (
        "worker_lost: the handler's process was killed by SIGKILL"
    )
    task = system.client.wait_for(always)
    assert (task["status"], task["crashes"], task["errors"]) == ("FAILED", 3, 0)
    assert "SIGSEGV" in task["error"]
    assert "not run again" in task["error"]
    assert system.client.wait_for_all(beside) == {"COMPLETED": 4}
    assert all(system.client.get(task_id)["attempt"] == 1 for task_id in beside)
    assert worker.runs()


def test_processes_of_a_killed_worker_die_with_it(system: System, tmp_path: Path) -> None:
    worker = system.start_worker()
    file = tmp_path / "pid"
    system.client.run("own-process", {"do": "wedge", "file": str(file)})
    pid = pid_in(file)

    worker.kill()

    wait_until(lambda: gone(pid), 10, "its process to be gone")


def test_a_process_lives_through_a_stop_that_is_sent_to_all(system: System, tmp_path: Path) -> None:
    worker = system.start_worker(SHUTDOWN_GRACE_SECONDS="1")
    file = tmp_path / "pid"
    task_id = system.client.run("own-process", {"do": "sleep", "file": str(file)})
    pid = pid_in(file)

    os.kill(pid, signal.SIGTERM)
    assert worker.stop() == 0

    assert system.tables.ledger(task_id) == [(1, "released")]
    assert system.client.get(task_id)["crashes"] == 0
    wait_until(lambda: gone(pid), 10, "its process to be gone")


# --- cancelling -----------------------------------------------------------------------------------


def test_a_waiting_task_is_cancelled_at_once_and_never_run(system: System) -> None:
    task_id = system.client.simulate()

    response = system.client.cancel(task_id)

    assert (response.status_code, response.json()["status"]) == (200, "CANCELLED")
    system.start_worker()
    assert system.client.wait_for(system.client.simulate())["status"] == "COMPLETED"
    assert system.client.get(task_id) == response.json()
    assert system.work_log.count("start", task_id) == 0


@pytest.mark.parametrize("type_", ["simulate", "own-process"])
def test_a_running_task_is_told_and_cancelled(system: System, type_: str) -> None:
    system.start_worker()
    metadata = {"do": "sleep", "simulate": {"seconds": 60}}
    task_id = system.client.run(type_, metadata)
    system.client.wait_for(task_id, "PROCESSING")

    response = system.client.cancel(task_id)

    assert response.status_code == 202
    # A heartbeat is 0.6 s here.
    task = system.client.wait_for(task_id, seconds=5)
    assert (task["status"], task["error"]) == ("CANCELLED", "cancelled on request")
    assert (task["errors"], task["crashes"]) == (0, 0)
    assert system.tables.ledger(task_id) == [(1, "cancelled")]
    assert system.client.cancel(task_id).status_code == 200


def test_a_handler_that_does_not_heed_a_cancel_is_cancelled_all_the_same(
    system: System, tmp_path: Path
) -> None:
    worker = system.start_worker(WORKER_CONCURRENCY="3")
    go = tmp_path / "go"
    task_id = system.client.run("stubborn", {"file": str(go)})
    system.client.wait_for(task_id, "PROCESSING")

    system.client.cancel(task_id)

    cancelled = system.client.wait_for(task_id)
    assert cancelled["status"] == "CANCELLED"
    go.touch()
    wait_until(lambda: "its outcome was decided before" in worker.output(), 10, "the late result")
    assert system.client.get(task_id) == cancelled


def test_a_cancelled_task_whose_worker_dies_is_not_run_again(system: System) -> None:
    worker = system.start_worker()
    task_id = system.client.simulate(60)
    system.client.wait_for(task_id, "PROCESSING")
    worker.freeze()
    assert system.client.cancel(task_id).status_code == 202
    worker.kill()

    system.start_worker()

    task = system.client.wait_for(task_id)
    assert (task["status"], task["attempt"], task["crashes"]) == ("CANCELLED", 1, 1)


def test_what_a_stopped_worker_gives_back_is_cancelled_if_that_was_asked(system: System) -> None:
    worker = system.start_worker(SHUTDOWN_GRACE_SECONDS="0", LEASE_SECONDS="60")
    task_id = system.client.simulate(60)
    system.client.wait_for(task_id, "PROCESSING")
    # Between two heartbeats, which are 12 s apart here.
    system.client.cancel(task_id)

    assert worker.stop() == 0

    assert system.client.get(task_id)["status"] == "CANCELLED"


def test_a_success_that_comes_before_the_worker_is_told_stays_one(system: System) -> None:
    system.start_worker(LEASE_SECONDS="60")
    task_id = system.client.simulate(1.5)
    system.client.wait_for(task_id, "PROCESSING")

    system.client.cancel(task_id)

    assert system.client.wait_for(task_id)["status"] == "COMPLETED"
    assert system.client.cancel(task_id).status_code == 409


# --- what takes a worker down ---------------------------------------------------------------------


def test_a_handler_that_holds_the_interpreter_for_ever_ends_the_process(system: System) -> None:
    worker = system.start_worker()
    task_id = system.client.run("wedge")
    system.client.wait_for(task_id, "PROCESSING")

    assert worker.wait(40) == 1

    assert "hold_the_interpreter_lock" in worker.output()
    system.client.cancel(task_id)
    system.start_worker()
    assert system.client.wait_for(task_id)["status"] == "CANCELLED"


def test_seven_innocent_tasks_beside_a_poisonous_one_all_complete(system: System) -> None:
    task_ids = [system.client.simulate(2) for _ in range(7)]
    worker = system.start_worker()
    system.client.wait_for(task_ids[-1], "PROCESSING")
    poison = system.client.run("poison")

    def over() -> bool:
        nonlocal worker
        if not worker.runs():
            worker = system.start_worker()
        return bool(system.client.get(poison)["status"] == "FAILED")

    wait_until(over, 90, "the poison to be given up")
    task = system.client.get(poison)
    assert (task["crashes"], task["errors"], task["attempt"]) == (3, 0, 3)
    assert task["error"].startswith("worker_lost: ")
    assert system.client.wait_for_all(task_ids, seconds=60) == {"COMPLETED": 7}
    assert all(system.client.get(task_id)["crashes"] <= 1 for task_id in task_ids)
