"""With the database away for a while nothing is lost, failed or taken from the living."""

import time
from collections.abc import Iterator

import httpx2
import pytest

from tests.conftest import System
from tests.local.database import DatabaseServer
from tests.local.servers import wait_until
from tests.proxy import LossyProxy

pytestmark = pytest.mark.usefixtures("real")

BODY = {"title": "Now", "description": "While the database is away"}


@pytest.fixture
def proxy(database: DatabaseServer) -> Iterator[LossyProxy]:
    proxy = LossyProxy(database.ports["sql"])
    yield proxy
    proxy.close()


def through(proxy: LossyProxy, system: System, database: DatabaseServer) -> str:
    return system.stack.database_url.replace(str(database.ports["sql"]), str(proxy.port))


def assert_untouched(system: System, task_ids: list[str]) -> None:
    """Nobody was rescued, nothing failed, everything ran once."""
    assert system.client.wait_for_all(task_ids, seconds=40) == {"COMPLETED": len(task_ids)}
    for task_id in task_ids:
        assert system.tables.ledger(task_id) == []
        assert system.work_log.count("start", task_id) == 1


def test_a_restart_of_the_database_under_running_tasks_disturbs_nobody(
    system: System, database: DatabaseServer
) -> None:
    for _ in range(2):
        system.stack.start_worker()
    task_ids = [system.client.simulate(2) for _ in range(8)]
    for task_id in task_ids:
        system.work_log.wait_for_start(task_id)

    database.kill()
    # Longer than the lease and than the tasks: outcomes must wait, beats must fail.
    away_until = time.monotonic() + 6
    wait_until(lambda: time.monotonic() > away_until, 10, "the outage to last")
    database.start()

    assert_untouched(system, task_ids)


def test_a_read_only_database_under_running_tasks_disturbs_nobody(
    system: System, database: DatabaseServer
) -> None:
    for _ in range(2):
        system.stack.start_worker()
    task_ids = [system.client.simulate(2) for _ in range(8)]
    for task_id in task_ids:
        system.work_log.wait_for_start(task_id)

    database.sql("SET GLOBAL read_only = 1")
    try:
        assert httpx2.post(f"{system.stack.url}/api/tasks", json=BODY).status_code == 503
        away_until = time.monotonic() + 6
        wait_until(lambda: time.monotonic() > away_until, 10, "the outage to last")
    finally:
        database.sql("SET GLOBAL read_only = 0")

    assert_untouched(system, task_ids)


def test_without_the_database_requests_get_503_in_time(
    system: System, database: DatabaseServer
) -> None:
    task_id = system.client.simulate()
    for outage in (database.freeze, database.kill):
        outage()

        answers = [
            httpx2.post(f"{system.stack.url}/api/tasks", json=BODY, timeout=8),
            httpx2.get(f"{system.stack.url}/api/tasks/{task_id}", timeout=8),
            httpx2.get(f"{system.stack.url}/health/ready", timeout=8),
        ]

        assert [answer.status_code for answer in answers] == [503, 503, 503]
        assert all(answer.headers["Retry-After"] for answer in answers)
        assert all("database" in answer.json()["detail"] for answer in answers)
        database.start()
    wait_until(lambda: system.client.ready()["database"] == "connected", 10, "readiness")
    assert system.client.simulate()


def test_a_submission_whose_commit_was_not_answered_is_stored_once(
    system: System, database: DatabaseServer, proxy: LossyProxy
) -> None:
    system.stack.services[0].stop()
    system.stack.start_api(DATABASE_URL=through(proxy, system, database))
    proxy.lose_answer_after(b"INSERT INTO outbox")

    task_id = system.client.submit("Only once")

    assert proxy.cut.is_set()
    assert [row["id"] for row in system.tables.rows("SELECT id FROM tasks")] == [task_id]
    system.stack.start_worker()
    assert system.client.wait_for(task_id)["status"] == "COMPLETED"


def test_a_claim_whose_commit_was_not_answered_is_given_back_and_run(
    system: System, database: DatabaseServer, proxy: LossyProxy
) -> None:
    worker = system.stack.start_worker(DATABASE_URL=through(proxy, system, database))
    system.client.wait_for(system.client.simulate())
    proxy.lose_answer_after(b"status='PROCESSING'")

    task_id = system.client.simulate()

    task = system.client.wait_for(task_id)
    assert proxy.cut.is_set()
    assert (task["status"], task["attempt"]) == ("COMPLETED", 2)
    assert system.tables.ledger(task_id) == [(1, "released")]
    assert system.work_log.count("start", task_id) == 1
    assert worker.runs()


def test_an_outcome_whose_commit_was_not_answered_is_recorded_once(
    system: System, database: DatabaseServer, proxy: LossyProxy
) -> None:
    system.stack.start_worker(DATABASE_URL=through(proxy, system, database))
    system.client.wait_for(system.client.simulate())
    proxy.lose_answer_after(b"status='COMPLETED'")

    task_id = system.client.simulate()

    task = system.client.wait_for(task_id)
    assert proxy.cut.is_set()
    assert (task["status"], task["attempt"]) == ("COMPLETED", 1)
    assert system.work_log.count("start", task_id) == 1
