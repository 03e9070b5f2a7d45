"""With the database away for a while nothing is lost, failed or taken from the living."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

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


@contextmanager
def running_tasks(system: System) -> Iterator[None]:
    """Let an outage come over two workers with running tasks.

    It lasts until every worker has missed more heartbeats than a lease has and holds outcomes
    that it cannot write. Afterwards nobody was rescued, nothing failed, everything ran once.
    """
    workers = [system.stack.start_worker() for _ in range(2)]
    wait_until(lambda: len(system.tables.workers()) == 2, 15, "both workers")
    task_ids = [system.client.simulate(4) for _ in range(16)]
    for task_id in task_ids:
        system.work_log.wait_for_start(task_id)
    yield
    for worker in workers:
        wait_until(lambda w=worker: w.output().count("heartbeat failed") > 7, 30, "missed beats")  # type: ignore[misc]
        wait_until(lambda w=worker: "outcomes wait" in w.output(), 30, "outcomes to wait")  # type: ignore[misc]


def assert_untouched(system: System) -> None:
    task_ids = [row["id"] for row in system.tables.rows("SELECT id FROM tasks")]
    assert system.client.wait_for_all(task_ids, seconds=40) == {"COMPLETED": 16}
    for task_id in task_ids:
        assert system.tables.ledger(task_id) == []
        assert system.work_log.count("start", task_id) == 1


def test_a_restart_of_the_database_under_running_tasks_disturbs_nobody(
    system: System, database: DatabaseServer
) -> None:
    with running_tasks(system):
        database.kill()

    database.start()

    assert_untouched(system)


def test_a_read_only_database_under_running_tasks_disturbs_nobody(
    system: System, database: DatabaseServer
) -> None:
    try:
        with running_tasks(system):
            database.sql("SET GLOBAL read_only = 1")
            assert httpx2.post(f"{system.stack.url}/api/tasks", json=BODY).status_code == 503
            assert httpx2.get(f"{system.stack.url}/health/ready").status_code == 503
    finally:
        database.sql("SET GLOBAL read_only = 0")

    assert_untouched(system)


def ask_all(system: System, task_id: str) -> list[httpx2.Response]:
    """Send twelve requests at once; none may take longer than a client bears."""
    url = system.stack.url

    def ask(number: int) -> httpx2.Response:
        if number % 3 == 0:
            return httpx2.post(f"{url}/api/tasks", json=BODY, timeout=8)
        path = f"/api/tasks/{task_id}" if number % 3 == 1 else "/health/ready"
        return httpx2.get(url + path, timeout=8)

    with ThreadPoolExecutor(12) as pool:
        return list(pool.map(ask, range(12)))


def assert_unavailable(answers: list[httpx2.Response]) -> None:
    assert [answer.status_code for answer in answers] == [503] * len(answers)
    assert all(answer.headers["Retry-After"] for answer in answers)
    assert all("database" in answer.json()["detail"] for answer in answers)


def test_without_the_database_requests_get_503_in_time(
    system: System, database: DatabaseServer
) -> None:
    task_id = system.client.simulate()
    for outage in (database.freeze, database.kill):
        outage()

        assert_unavailable(ask_all(system, task_id))

        database.start()
    wait_until(lambda: system.client.ready().get("database") == "connected", 10, "readiness")
    assert system.client.simulate()


def test_an_api_that_starts_without_the_database_answers_503_in_time(
    system: System, database: DatabaseServer
) -> None:
    task_id = system.client.simulate()
    system.stack.services[0].stop()
    database.freeze()

    system.stack.start_api()

    assert_unavailable(ask_all(system, task_id))
    database.thaw()
    wait_until(lambda: system.client.ready().get("database") == "connected", 10, "readiness")


def test_a_worker_stopped_while_the_database_does_not_answer_exits_0(
    system: System, database: DatabaseServer
) -> None:
    worker = system.stack.start_worker(SHUTDOWN_GRACE_SECONDS="1")
    task_id = system.client.simulate(30)
    system.work_log.wait_for_start(task_id)
    database.freeze()

    # Compose leaves ten seconds more than the grace period; killed, it would not exit 0.
    assert worker.stop(seconds=11) == 0


def test_a_registration_whose_commit_was_not_answered_is_made_anew(
    system: System, database: DatabaseServer, proxy: LossyProxy
) -> None:
    proxy.lose_answer_after(b"INSERT INTO workers")

    system.stack.start_worker(DATABASE_URL=through(proxy, system, database))

    assert system.client.wait_for(system.client.simulate())["status"] == "COMPLETED"
    assert proxy.cut.wait(5)


def test_a_submission_whose_commit_was_not_answered_is_stored_once(
    system: System, database: DatabaseServer, proxy: LossyProxy
) -> None:
    system.stack.services[0].stop()
    system.stack.start_api(DATABASE_URL=through(proxy, system, database))
    proxy.lose_answer_after(b"INSERT INTO outbox")

    task_id = system.client.submit("Only once")

    assert proxy.cut.wait(5)
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
    assert proxy.cut.wait(5)
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
    assert proxy.cut.wait(5)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 1)
    assert system.work_log.count("start", task_id) == 1
