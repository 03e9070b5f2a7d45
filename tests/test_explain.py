"""Why a task is not finished, as the running system tells it."""

from pathlib import Path

import pytest

from tests.conftest import System
from tests.local.broker import BrokerServer
from tests.local.servers import wait_until


def code(system: System, task_id: str) -> str:
    return str(system.client.look(f"tasks/{task_id}/explain")["code"])


def wait_for_code(system: System, task_id: str, wanted: str, seconds: float = 20) -> str:
    """Wait until a task is explained by this code; return the words."""
    wait_until(lambda: code(system, task_id) == wanted, seconds, f"{task_id} to be {wanted}")
    return str(system.client.look(f"tasks/{task_id}/explain")["detail"])


def test_a_task_without_a_worker_and_one_that_is_not_due(system: System) -> None:
    later = system.client.post(delay_seconds=3600).json()["task_id"]
    task_id = system.client.submit()

    assert code(system, later) == "scheduled"
    assert code(system, task_id) == "no_worker"


def test_a_task_that_runs_and_those_behind_it(system: System, tmp_path: Path) -> None:
    system.start_worker(WORKER_CONCURRENCY="1")
    go = tmp_path / "go"
    running = system.client.run("steps", {"file": str(go)})
    system.client.wait_for(running, "PROCESSING")
    behind = [system.client.simulate() for _ in range(3)]

    assert "heartbeat" in wait_for_code(system, running, "running")
    assert wait_for_code(system, behind[-1], "queued").endswith(
        "2 of its priority are ahead of it."
    )
    go.touch()
    system.client.wait_for_all([running, *behind])
    assert code(system, running) == "completed"


def test_a_task_that_is_tried_again_later_and_one_that_failed(system: System) -> None:
    system.start_worker()
    later = system.client.run("sum", {"numbers": [], "fail": "later"})
    failed = system.client.run("sum", {"numbers": [], "fail": "permanent"})

    words = wait_for_code(system, later, "retry_scheduled")
    assert "Error 1 of 2" in words
    assert "tomorrow" in words
    assert "Permanent: never" in wait_for_code(system, failed, "failed")


def test_a_task_whose_worker_died(system: System) -> None:
    worker = system.stack.start_worker(LEASE_SECONDS="2")
    task_id = system.client.simulate(60)
    system.client.wait_for(task_id, "PROCESSING")
    worker.kill()

    assert "no sign of life" in wait_for_code(system, task_id, "worker_silent")
    system.tables.write("DELETE FROM workers")
    assert "is gone" in wait_for_code(system, task_id, "worker_gone")
    system.stack.start_worker()
    system.work_log.wait_for_start(task_id, times=2)
    assert (
        system.client.look(f"tasks/{task_id}/attempts")["attempts"][0]["outcome"] == "worker_lost"
    )


@pytest.mark.usefixtures("real")
def test_a_task_whose_message_waits_for_the_broker(system: System, broker: BrokerServer) -> None:
    system.stack.start_worker(FALLBACK_SECONDS="3600")
    system.client.wait_for(system.client.simulate())
    broker.kill()
    wait_until(lambda: system.client.ready()["broker"] == "away", 30, "the loss to be noticed")
    task_id = system.client.submit()

    assert "(away)" in wait_for_code(system, task_id, "waiting_for_broker")


def test_a_retry_request_begins_anew(system: System) -> None:
    system.stack.start_worker()
    task_id = system.client.simulate(fail_attempts=3)
    assert system.client.wait_for(task_id)["status"] == "FAILED"

    again = system.client.retry(task_id)

    assert (again.status_code, again.json()["errors"]) == (202, 0)
    task = system.client.wait_for(task_id)
    assert (task["status"], task["attempt"], task["errors"]) == ("COMPLETED", 4, 0)
    wait_until(lambda: not system.tables.outbox(), 5, "the promises to be deleted")
    outcomes = [a["outcome"] for a in system.client.look(f"tasks/{task_id}/attempts")["attempts"]]
    assert outcomes == ["error", "error", "error", "completed"]


def test_scheduled_tasks_and_batches_are_run_when_they_are_due(system: System) -> None:
    system.stack.start_worker()
    tasks = [{"title": f"Task {n}", "description": "D", "delay_seconds": n % 3} for n in range(30)]

    task_ids = system.client.submit_batch(tasks)

    assert system.client.wait_for_all(task_ids) == {"COMPLETED": 30}
    assert all(system.client.get(task_id)["wait_ms"] >= 0 for task_id in task_ids)
    wait_until(lambda: not system.tables.outbox(), 5, "the promises to be deleted")
