"""Who goes first where tasks wait, and who takes what is stuck behind long ones."""

import pytest

from tests.conftest import System
from tests.local.servers import wait_until
from tests.queues import Queues


def order(system: System, task_ids: list[str]) -> list[str]:
    """Return these tasks in the order in which they were started."""
    lines = [line.split("\t") for line in system.work_log.path.read_text().splitlines()]
    return [line[0] for line in lines if line[1] == "start" and line[0] in task_ids]


def submit_backwards(system: System) -> dict[str, list[str]]:
    """Submit four tasks of each priority, the least urgent first."""
    return {
        priority: [
            system.client.run("simulate", {"simulate": {"seconds": 0.05}}, priority=priority)
            for _ in range(4)
        ]
        for priority in ("low", "normal", "high")
    }


def test_under_load_high_goes_before_normal_before_low(system: System) -> None:
    # A worker that holds no more than it runs: what waits is where priorities are kept.
    system.stack.start_worker(WORKER_CONCURRENCY="1", WORKER_PREFETCH="1")
    busy = system.client.simulate(2)
    system.work_log.wait_for_start(busy)

    by_priority = submit_backwards(system)

    task_ids = [id_ for ids in by_priority.values() for id_ in ids]
    assert system.client.wait_for_all(task_ids) == {"COMPLETED": 12}
    started = order(system, task_ids)
    assert set(started[:4]) == set(by_priority["high"])
    assert set(started[4:8]) == set(by_priority["normal"])


@pytest.mark.usefixtures("real")
def test_what_a_worker_holds_is_run_by_priority_too(system: System) -> None:
    system.stack.start_worker(WORKER_CONCURRENCY="1", WORKER_PREFETCH="20")
    busy = system.client.simulate(2)
    system.work_log.wait_for_start(busy)

    by_priority = submit_backwards(system)

    with Queues(system.stack.broker_url) as queues:
        wait_until(lambda: queues.ready() == 0, 10, "the worker to hold all")
    task_ids = [id_ for ids in by_priority.values() for id_ in ids]
    assert system.client.wait_for_all(task_ids) == {"COMPLETED": 12}
    assert order(system, task_ids) == [
        id_ for priority in ("high", "normal", "low") for id_ in by_priority[priority]
    ]


@pytest.mark.usefixtures("real")
def test_what_is_stuck_in_a_busy_worker_is_taken_by_an_idle_one(system: System) -> None:
    busy = system.stack.start_worker(WORKER_CONCURRENCY="1", WORKER_PREFETCH="4")
    long = system.client.simulate(60)
    system.work_log.wait_for_start(long)
    stuck = system.client.run("simulate", {"simulate": {"seconds": 0}}, priority="high")
    with Queues(system.stack.broker_url) as queues:
        wait_until(lambda: queues.ready() == 0, 10, "the busy worker to hold it")

    idle = system.stack.start_worker(WORKER_CONCURRENCY="1")

    # FALLBACK_SECONDS is 2 here.
    assert system.client.wait_for(stuck, seconds=8)["status"] == "COMPLETED"
    assert system.work_log.runner(stuck) == idle.pid
    assert system.work_log.runner(long) == busy.pid
    assert system.client.get(long)["status"] == "PROCESSING"
