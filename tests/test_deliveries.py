"""What a worker does with messages: its acks, and those it can do nothing with."""

import pytest

from tests.conftest import System
from tests.local.broker import BrokerServer
from tests.local.servers import wait_until
from tests.queues import DEAD, Queues

pytestmark = pytest.mark.usefixtures("real")

UNKNOWN = "01931f6e-8a37-7c31-b1f5-3f0c2a9d7e10"


def test_a_message_delivered_five_times_is_one_execution(system: System) -> None:
    task_id = system.client.simulate(0.5)
    with Queues(system.stack.broker_url) as queues:
        wait_until(lambda: queues.ready() == 1, 10, "the message")
        for _ in range(4):
            queues.publish_task(task_id)

        system.stack.start_worker()

        task = system.client.wait_for(task_id)
        queues.publish_task(task_id)
        after = system.client.simulate()
        system.client.wait_for(after)
        wait_until(lambda: queues.ready() == 0, 10, "all messages to be taken")
    assert (task["status"], task["attempt"]) == ("COMPLETED", 1)
    assert system.work_log.count("start", task_id) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"not json",
        b"[]",
        b"{}",
        b'{"task_id": 5}',
        b'{"task_id": "x"}',
        b"[" * 9999,
    ],
)
def test_an_unreadable_message_goes_to_the_dead_letters(system: System, body: bytes) -> None:
    system.stack.start_worker()
    task_id = system.client.simulate()
    system.client.wait_for(task_id)

    with Queues(system.stack.broker_url) as queues:
        queues.publish(body)

        wait_until(lambda: queues.ready(DEAD) == 1, 10, "the dead letter")
    assert system.client.wait_for(system.client.simulate())["status"] == "COMPLETED"


def test_a_message_of_an_unknown_task_is_acked_with_a_warning(system: System) -> None:
    worker = system.stack.start_worker()
    system.client.wait_for(system.client.simulate())

    with Queues(system.stack.broker_url) as queues:
        queues.publish_task(UNKNOWN)
        wait_until(lambda: "unknown task" in worker.output(), 10, "the warning")
        worker.stop()
        assert queues.ready() == 0
        assert queues.ready(DEAD) == 0


def test_a_message_that_comes_before_its_task_is_due_does_not_run_it(system: System) -> None:
    worker = system.stack.start_worker(RETRY_BASE_SECONDS="3600", RETRY_MAX_SECONDS="3600")
    task_id = system.client.simulate(fail_attempts=1)
    system.client.wait_for(task_id, "PENDING")
    wait_until(lambda: system.client.get(task_id)["errors"] == 1, 10, "the first attempt")

    with Queues(system.stack.broker_url) as queues:
        queues.publish_task(task_id)
        system.client.wait_for(system.client.simulate())
        worker.stop()
        assert queues.ready() == 0
    assert system.client.get(task_id)["attempt"] == 1
    wait_until(lambda: system.tables.outbox() == [task_id], 5, "its promise alone to be left")


def test_a_delivery_is_not_acked_before_its_task_is_completed(
    system: System, broker: BrokerServer
) -> None:
    worker = system.stack.start_worker()
    task_id = system.client.simulate(30)
    system.work_log.wait_for_start(task_id)

    worker.kill()

    with Queues(system.stack.broker_url) as queues:
        wait_until(lambda: queues.ready() == 1, 15, "the broker to have the message back")


def test_a_lost_connection_costs_no_second_execution(system: System, broker: BrokerServer) -> None:
    worker = system.stack.start_worker()
    task_id = system.client.simulate(15)
    system.work_log.wait_for_start(task_id)

    def cut() -> bool:
        names = [c["name"] for c in broker.api("GET", "/connections") if "name" in c]
        for name in names:
            broker.api("DELETE", "/connections/" + name.replace(" ", "%20").replace(">", "%3E"))
        return "broker away" in worker.output()

    wait_until(cut, 12, "the worker to lose its connection")
    assert system.client.get(task_id)["status"] == "PROCESSING"
    task = system.client.wait_for(task_id)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 1)
    assert system.work_log.count("start", task_id) == 1


def test_high_priority_is_delivered_first(system: System) -> None:
    low = [system.client.submit(priority="low") for _ in range(4)]
    high = system.client.submit(priority="high")
    with Queues(system.stack.broker_url) as queues:
        wait_until(lambda: queues.ready() == 5, 10, "the messages")

    # No fallback: what waited for so long as the worker takes to start would be found by it.
    system.stack.start_worker(WORKER_CONCURRENCY="1", FALLBACK_SECONDS="3600")

    assert system.client.wait_for_all([*low, high]) == {"COMPLETED": 5}
    first = system.work_log.path.read_text().split("\t")[0]
    assert first == high
