"""Five hundred tasks of all kinds with errors, time-outs, cancels, and two workers killed."""

import random
import re
from collections import Counter
from typing import Any

from tests.client import FINAL
from tests.conftest import System
from tests.local.servers import wait_until

TASKS = 500
EVERY = 8  # of them is followed by a cancel of any so far


def a_task(dice: random.Random) -> dict[str, Any]:
    """Make up a submission: mostly short work, of which some fails, hangs, or kills its process."""
    simulate: dict[str, Any] = {"seconds": round(dice.uniform(0, 0.3), 2)}
    kinds: list[tuple[int, dict[str, Any]]] = [
        (45, {"metadata": {"simulate": simulate}}),
        (15, {"metadata": {"simulate": {**simulate, "fail_attempts": dice.randint(1, 4)}}}),
        (8, {"metadata": {"simulate": {"seconds": 8}}, "timeout_seconds": 1, "max_attempts": 1}),
        (4, {"metadata": {"simulate": {"seconds": 8}}, "timeout_seconds": 1, "max_attempts": 2}),
        (10, {"type": "sum", "metadata": {"numbers": [1, 2]}}),
        (4, {"type": "sum", "metadata": {"numbers": [], "fail": "error"}}),
        (4, {"type": "sum", "metadata": {"numbers": [], "fail": "permanent"}}),
        (5, {"type": "add-async", "metadata": {"numbers": [3]}}),
        (3, {"type": "own-process", "metadata": {}}),
        (1, {"type": "own-process", "metadata": {"do": "once"}}),
        (1, {"type": "own-process", "metadata": {"do": "segfault"}}),
    ]
    weights, bodies = zip(*kinds, strict=True)
    [body] = dice.choices(bodies, weights)
    return {**body, "priority": dice.choice(["high", "normal", "low"])}


def test_everything_at_once_ends_well_and_the_ledger_explains_every_attempt(
    system: System,
) -> None:
    dice = random.Random(7)
    workers = [system.start_worker() for _ in range(2)]
    task_ids: list[str] = []
    for number in range(TASKS):
        response = system.client.post(**a_task(dice))
        assert response.status_code == 202, response.text
        task_ids.append(response.json()["task_id"])
        if number % EVERY == 0:
            assert system.client.cancel(dice.choice(task_ids)).status_code in (200, 202, 409)
        if number in (TASKS // 3, 2 * TASKS // 3):
            workers.pop(0).kill()
            workers.append(system.start_worker())

    left = "SELECT id FROM tasks WHERE status IN ('PENDING', 'PROCESSING')"
    wait_until(lambda: not system.tables.rows(left), 240, "all tasks to be final")

    tasks = {row["id"]: row for row in system.tables.rows("SELECT * FROM tasks")}
    assert sorted(tasks) == sorted(task_ids)
    statuses = Counter(task["status"] for task in tasks.values())
    assert set(statuses) == FINAL
    for task_id, task in tasks.items():
        explain(task, system.tables.attempts(task_id))
    assert any(task["crashes"] for task in tasks.values() if task["type"] == "simulate")
    wait_until(lambda: not system.tables.outbox(), 20, "the outbox to be empty")

    output = "".join(service.output() for service in system.stack.services)
    completions = Counter(re.findall(r"\] completed .*task_id=(\S+)", output))
    assert set(completions.values()) == {1}
    assert set(completions) <= {id_ for id_, t in tasks.items() if t["status"] == "COMPLETED"}


def explain(task: dict[str, Any], attempts: list[dict[str, Any]]) -> None:
    """Hold a final task against its ledger: every attempt is told, once, and nothing else."""
    numbers = [row["attempt"] for row in attempts]
    succeeded = task["status"] == "COMPLETED"
    outcomes = Counter(row["outcome"] for row in attempts)

    assert numbers == list(range(1, task["attempt"] + (not succeeded))), task
    assert all(row["worker_id"] and row["started_at"] and row["finished_at"] for row in attempts)
    assert all(row["error"] for row in attempts), attempts
    last = attempts[-1]["outcome"] if attempts else None
    match task["status"]:
        case "COMPLETED":
            assert task["error"] is None
        case "FAILED":
            assert task["error"] == attempts[-1]["error"]
            assert last in ("error", "timeout", "worker_lost")
        case "CANCELLED" if last == "cancelled":
            # What it was cancelled in may have been an error or a lost worker besides.
            besides = task["errors"] + task["crashes"] - outcomes["error"] - outcomes["timeout"]
            besides -= outcomes["worker_lost"]
            assert besides in (0, 1), (task, attempts)
            kind = "worker_lost" if task["crashes"] > outcomes["worker_lost"] else "error"
            outcomes[kind] += besides
    assert task["errors"] == outcomes["error"] + outcomes["timeout"]
    assert task["crashes"] == outcomes["worker_lost"]
