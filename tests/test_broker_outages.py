"""With the broker stopped, in alarm, wiped, deaf or its queue gone, every task is run."""

import pytest

from tests.conftest import System
from tests.local.broker import BrokerServer
from tests.local.servers import wait_until
from tests.queues import Queues

pytestmark = pytest.mark.usefixtures("real")

#: With this a worker takes nothing from the table: what it gets, the broker delivered.
NO_FALLBACK = {"FALLBACK_SECONDS": "3600"}


def wait_for_broker(system: System, state: str) -> None:
    wait_until(lambda: system.client.ready()["broker"] == state, 30, f"the broker to be {state}")


def test_tasks_run_while_the_broker_is_down_and_it_delivers_again_afterwards(
    system: System, broker: BrokerServer
) -> None:
    worker = system.stack.start_worker()
    system.client.wait_for(system.client.simulate())
    broker.kill()

    during = [system.client.simulate() for _ in range(20)]
    assert system.client.wait_for_all(during) == {"COMPLETED": 20}
    assert system.client.ready() == {
        "status": "degraded",
        "database": "connected",
        "broker": "away",
    }

    broker.start()
    wait_for_broker(system, "connected")
    wait_until(lambda: worker.output().count("consuming") == 2, 30, "the worker to reconnect")
    worker.stop()
    system.stack.start_worker(**NO_FALLBACK)
    assert system.client.wait_for(system.client.simulate())["status"] == "COMPLETED"
    assert all(system.work_log.count("start", task_id) == 1 for task_id in during)


def test_submitting_works_and_tasks_run_while_the_broker_is_in_alarm(
    system: System, broker: BrokerServer
) -> None:
    system.stack.start_worker()
    system.client.wait_for(system.client.simulate())
    broker.alarm(True)
    try:
        task_ids = [system.client.simulate() for _ in range(20)]

        assert system.client.wait_for_all(task_ids) == {"COMPLETED": 20}
    finally:
        broker.alarm(False)


def test_submitting_works_and_tasks_run_while_the_broker_does_not_answer(
    system: System, broker: BrokerServer
) -> None:
    system.stack.start_worker()
    system.client.wait_for(system.client.simulate())
    broker.freeze()

    task_ids = [system.client.simulate() for _ in range(20)]

    assert system.client.wait_for_all(task_ids) == {"COMPLETED": 20}


def test_tasks_whose_messages_were_wiped_are_run(system: System, broker: BrokerServer) -> None:
    task_ids = [system.client.simulate() for _ in range(20)]
    wait_until(lambda: not system.tables.outbox(), 10, "all messages to be confirmed")

    broker.wipe()
    system.stack.start_worker()

    assert system.client.wait_for_all(task_ids) == {"COMPLETED": 20}


def test_a_queue_deleted_under_a_running_worker_is_made_anew(system: System) -> None:
    worker = system.stack.start_worker(**NO_FALLBACK)
    system.client.wait_for(system.client.simulate())

    with Queues(system.stack.broker_url) as queues:
        queues.delete()
    wait_until(lambda: worker.output().count("consuming") == 2, 30, "the worker to resubscribe")

    assert system.client.wait_for(system.client.simulate())["status"] == "COMPLETED"


def test_a_message_to_a_deleted_queue_is_not_taken_for_delivered(system: System) -> None:
    system.client.simulate()
    wait_until(lambda: not system.tables.outbox(), 10, "the relay to work")
    with Queues(system.stack.broker_url) as queues:
        queues.delete()

    task_id = system.client.simulate()
    system.stack.start_worker(**NO_FALLBACK)

    assert system.client.wait_for(task_id)["status"] == "COMPLETED"


def test_a_task_whose_api_died_before_publishing_is_published_by_another(
    system: System, broker: BrokerServer
) -> None:
    system.client.wait_for(system.client.simulate(), "PENDING")
    broker.kill()
    task_id = system.client.simulate()
    system.stack.services[0].kill()
    broker.start()

    system.stack.start_api()
    system.stack.start_worker(**NO_FALLBACK)

    assert system.client.wait_for(task_id)["status"] == "COMPLETED"


def test_retries_and_rescues_go_on_without_any_api(system: System) -> None:
    doomed = system.stack.start_worker()
    retried = [system.client.simulate(fail_attempts=1) for _ in range(5)]
    held = system.client.simulate(1.5)
    system.work_log.wait_for_start(held)
    failed = "SELECT id FROM tasks WHERE errors = 1"
    wait_until(lambda: len(system.tables.rows(failed)) == 5, 10, "the errors to be committed")
    system.stack.services[0].kill()
    doomed.kill()

    system.stack.start_worker()

    statement = "SELECT COUNT(*) AS n FROM tasks WHERE status = 'COMPLETED'"
    wait_until(lambda: system.tables.rows(statement)[0]["n"] == 6, 40, "all to be completed")
    assert system.tables.ledger(held)[0] == (1, "worker_lost")
    assert all("error" in dict(system.tables.ledger(task_id)).values() for task_id in retried)


def test_a_task_three_times_as_long_as_the_broker_heartbeat_runs_once(system: System) -> None:
    system.stack.start_worker()

    task_id = system.client.simulate(16)

    task = system.client.wait_for(task_id, seconds=40)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 1)
    assert system.work_log.count("start", task_id) == 1
    assert "broker away" not in system.stack.services[1].output()
