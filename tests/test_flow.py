"""What a client is promised, on every backend."""

import signal

from tests.conftest import System
from tests.local.servers import wait_until
from tests.local.services import Service


def test_a_task_is_stored_run_and_completed(system: System) -> None:
    system.stack.start_worker()

    task_id = system.client.submit("A report", simulate={"seconds": 0.3}, colour="blue")

    system.client.wait_for(task_id, "PROCESSING")
    task = system.client.wait_for(task_id)
    assert task["status"] == "COMPLETED"
    assert task["metadata"] == {"simulate": {"seconds": 0.3}, "colour": "blue"}
    assert task["attempt"] == 1
    assert task["completed_at"] >= task["created_at"]
    assert system.work_log.count("done", task_id) == 1
    assert system.tables.ledger(task_id) == []


def test_tasks_submitted_before_any_worker_are_run_when_one_comes(system: System) -> None:
    task_ids = [system.client.simulate() for _ in range(20)]

    system.stack.start_worker()

    assert system.client.wait_for_all(task_ids) == {"COMPLETED": 20}
    assert all(system.work_log.count("done", task_id) == 1 for task_id in task_ids)


def start_two_workers(system: System) -> list[Service]:
    """Start two workers and wait until both take tasks."""
    workers = [system.stack.start_worker() for _ in range(2)]
    wait_until(lambda: len(system.tables.workers()) == 2, 20, "both workers")
    return workers


def who_runs(system: System, task_id: str, workers: list[Service]) -> Service:
    system.work_log.wait_for_start(task_id)
    return next(w for w in workers if w.pid == system.work_log.runner(task_id))


def test_two_workers_share_tasks_and_run_each_once(system: System) -> None:
    workers = start_two_workers(system)

    task_ids = [system.client.simulate(0.2) for _ in range(60)]

    assert system.client.wait_for_all(task_ids) == {"COMPLETED": 60}
    assert all(system.work_log.count("start", task_id) == 1 for task_id in task_ids)
    assert {system.work_log.runner(task_id) for task_id in task_ids} == {w.pid for w in workers}


def test_an_attempt_that_fails_is_retried_and_kept_in_the_ledger(system: System) -> None:
    system.stack.start_worker()

    task_id = system.client.simulate(fail_attempts=2, error="not yet")

    task = system.client.wait_for(task_id)
    assert (task["status"], task["attempt"], task["errors"]) == ("COMPLETED", 3, 2)
    assert system.tables.ledger(task_id) == [(1, "error"), (2, "error")]


def test_a_task_that_always_fails_ends_failed_and_says_why(system: System) -> None:
    system.stack.start_worker()

    task_id = system.client.simulate(fail_attempts=99, error="no such printer")

    task = system.client.wait_for(task_id)
    assert (task["status"], task["attempt"], task["errors"]) == ("FAILED", 3, 3)
    assert task["error"] == "SimulatedError: no such printer"
    assert task["completed_at"] is not None


def test_a_cancel_request_stops_a_running_task_and_it_stays_cancelled(system: System) -> None:
    system.stack.start_worker()
    task_id = system.client.simulate(60)
    system.client.wait_for(task_id, "PROCESSING")

    system.tables.write("UPDATE tasks SET cancel_requested = 1 WHERE id = :id", id=task_id)

    assert system.client.wait_for(task_id)["status"] == "CANCELLED"
    assert system.tables.ledger(task_id) == [(1, "cancelled")]


def test_a_stopped_worker_finishes_what_runs_and_exits_0(system: System) -> None:
    worker = system.stack.start_worker()
    task_id = system.client.simulate(1.5)
    system.client.wait_for(task_id, "PROCESSING")

    assert worker.stop() == 0

    task = system.client.get(task_id)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 1)
    assert system.tables.workers() == []


def test_a_stopped_worker_gives_back_what_outlasts_the_grace_period(system: System) -> None:
    worker = system.stack.start_worker(SHUTDOWN_GRACE_SECONDS="0.5")
    task_id = system.client.simulate(8)
    system.client.wait_for(task_id, "PROCESSING")

    assert worker.stop() == 0

    assert system.client.get(task_id)["status"] == "PENDING"
    assert system.tables.ledger(task_id) == [(1, "released")]
    system.stack.start_worker()
    task = system.client.wait_for(task_id)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 2)
    assert (task["errors"], task["crashes"]) == (0, 0)


def test_a_second_signal_ends_the_grace_period(system: System) -> None:
    worker = system.stack.start_worker(SHUTDOWN_GRACE_SECONDS="60")
    task_id = system.client.simulate(50)
    system.client.wait_for(task_id, "PROCESSING")

    worker.signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in worker.output(), 10, "the worker to begin stopping")
    worker.signal(signal.SIGTERM)

    assert worker.wait(10) == 0
    assert system.client.get(task_id)["status"] == "PENDING"


def test_a_killed_workers_task_is_completed_by_another(system: System) -> None:
    workers = start_two_workers(system)
    task_id = system.client.simulate(4)

    who_runs(system, task_id, workers).kill()

    task = system.client.wait_for(task_id)
    assert (task["status"], task["attempt"], task["crashes"]) == ("COMPLETED", 2, 1)
    assert system.tables.ledger(task_id) == [(1, "worker_lost")]
    assert system.work_log.count("done", task_id) == 1


def test_a_task_under_which_three_workers_died_fails_and_says_so(system: System) -> None:
    task_id = system.client.simulate(60)
    for attempt in (1, 2, 3):
        worker = system.stack.start_worker()
        system.work_log.wait_for_start(task_id, times=attempt)
        worker.kill()

    system.stack.start_worker()

    task = system.client.wait_for(task_id)
    assert (task["status"], task["crashes"]) == ("FAILED", 3)
    assert "worker_lost" in task["error"]
    assert system.work_log.count("start", task_id) == 3


def test_a_frozen_workers_late_write_is_refused(system: System) -> None:
    workers = start_two_workers(system)
    task_id = system.client.simulate(1.5)
    frozen = who_runs(system, task_id, workers)
    frozen.freeze()
    first = system.client.wait_for(task_id)

    frozen.thaw()

    wait_until(lambda: "outcome refused" in frozen.output(), 10, "the late write")
    assert (first["status"], first["attempt"]) == ("COMPLETED", 2)
    assert system.client.get(task_id) == first
    wait_until(lambda: len(system.tables.workers()) == 2, 10, "it to start over")


def test_a_claim_whose_answer_got_lost_is_given_back_and_run(system: System) -> None:
    system.stack.start_worker()
    wait_until(lambda: len(system.tables.workers()) == 1, 10, "the worker")
    task_id = system.client.simulate(fail_attempts=1)  # any later attempt will do
    system.client.wait_for(task_id)
    # What such a claim leaves behind: the row is the worker's, and it knows nothing of it.
    [worker_id] = system.tables.workers()

    system.tables.write(
        "UPDATE tasks SET status = 'PROCESSING', attempt = attempt + 1, worker_id = :worker,"
        " completed_at = NULL WHERE id = :id",
        id=task_id,
        worker=worker_id,
    )

    system.client.wait_for(task_id, "COMPLETED")
    assert (3, "released") in system.tables.ledger(task_id)


def test_a_task_held_by_an_unknown_worker_is_rescued(system: System) -> None:
    task_id = system.client.simulate()
    system.tables.write(
        "UPDATE tasks SET status = 'PROCESSING', attempt = 1, worker_id = 'gone' WHERE id = :id",
        id=task_id,
    )

    system.stack.start_worker()

    task = system.client.wait_for(task_id)
    assert (task["status"], task["attempt"], task["crashes"]) == ("COMPLETED", 2, 1)
