"""What is measured of a system in a round. All results are plain numbers under plain names."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import cpu_seconds, server_pid
from bench.servers import Rows, Servers
from bench.systems import KINDS, System
from tests.local.servers import ServerError

LOAD = Path(__file__).with_name("load.py")
CLIENTS = (1, 16, 64)
#: Seconds for all tasks of a step to be completed; the slowest system needs a tenth of it.
FINISH_SECONDS = 120.0
#: Seconds between looks at the table, as long as tasks are run: the looks cost CPU as well.
LOOK_SECONDS = 0.05
Results = dict[str, float]


@dataclass(frozen=True)
class Effort:
    """How long each step takes: ``part`` of the usual numbers of tasks."""

    seconds: float = 4.0
    warm_up_seconds: float = 1.0
    part: float = 1.0
    #: How often each system gets a turn with one task after the other, and how many those are.
    turns: int = 20
    tasks_a_turn: int = 20

    def tasks(self, usual: int) -> int:
        return max(100, int(usual * self.part))


QUICK = Effort(seconds=1.0, warm_up_seconds=0.5, part=0.3, turns=8)


def take_in(servers: Servers, name: str, logs: Path, effort: Effort) -> Results:
    """Measure submissions, with no worker running."""
    with servers.fresh(name, logs) as system:
        system.start_api()
        return submissions(system, effort)


def work(servers: Servers, name: str, logs: Path, effort: Effort) -> Results:
    """Measure how fast tasks are worked off: from a backlog, then while more are submitted."""
    with servers.fresh(name, logs) as system, Rows(system.database_url) as rows:
        api = system.start_api()
        worker, drained = drain(system, rows, effort.tasks(KINDS[name].backlog))
        groups = cpu_groups(servers, api, worker)
        return drained | end_to_end(system, rows, effort.tasks(KINDS[name].end_to_end), groups)


#: In each, all systems are measured right after each other: a virtual machine is faster or slower
#: by half from one minute to the next.
STEPS: Sequence[Callable[[Servers, str, Path, Effort], Results]] = (take_in, work)


def submissions(system: System, effort: Effort) -> Results:
    """Submit from different numbers of clients."""
    results: Results = {}
    load(system, 16, seconds=effort.warm_up_seconds)
    for clients in CLIENTS:
        seen = load(system, clients, seconds=effort.seconds)
        results[f"submit_{clients}"] = seen["rate"]
        results[f"submit_{clients}_p50"] = seen["p50"]
        results[f"submit_{clients}_p99"] = seen["p99"]
        results["load_cpu_us"] = seen["cpu_us"]
    return results


def drain(system: System, rows: Rows, total: int) -> tuple[int, Results]:
    """Start a worker on a backlog; count from the first task seen completed. Return its pid too."""
    load(system, 64, total=total)
    worker = system.start_worker()
    _wait_for(system, lambda: rows.any("COMPLETED"))
    began, already = time.monotonic(), rows.count("COMPLETED")
    finish(system, rows)
    seconds = time.monotonic() - began
    _all_completed(rows, total)
    rate = (total - already) / seconds
    return worker, {"drain": rate, "drain_tasks": total, "drain_seconds": seconds}


def end_to_end(system: System, rows: Rows, total: int, groups: dict[str, list[int]]) -> Results:
    """Submit with a worker running, until all is completed; and the CPU that took, by process."""
    before_count = rows.count("COMPLETED")
    before = {group: cpu_seconds(pids) for group, pids in groups.items()}
    seen = load(system, 64, total=total)
    finish(system, rows)
    seconds = time.monotonic() - seen["began"]
    results: Results = {"cpu": 0.0}
    for group, pids in groups.items():
        results[f"cpu_{group}"] = (cpu_seconds(pids) - before[group]) * 1e6 / total
        results["cpu"] += results[f"cpu_{group}"]
    _all_completed(rows, before_count + total)
    results["end_to_end"] = total / seconds
    results["end_to_end_tasks"] = total
    return results


def cpu_groups(servers: Servers, api: int, worker: int) -> dict[str, list[int]]:
    return {
        "api": [api],
        "worker": [worker],
        "database": [server_pid(servers.database)],
        "broker": [server_pid(servers.broker)],
    }


def load(system: System, clients: int, *, seconds: float = 0.0, total: int = 0) -> dict[str, Any]:
    """Run the load generator; every answer must be 202."""
    command = load_command(system, clients, seconds=seconds, total=total)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + FINISH_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ServerError(f"submitting took longer than {FINISH_SECONDS:g} s") from None
    if done.returncode != 0:
        raise ServerError(f"{clients} clients: {done.stdout}{done.stderr[-1000:]}")
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def load_command(
    system: System, clients: int, *, seconds: float = 0.0, total: int = 0
) -> list[str]:
    how = ["--seconds", str(seconds)] if seconds else ["--total", str(total)]
    return [sys.executable, str(LOAD), str(system.port), str(clients), *how]


def finish(system: System, rows: Rows) -> None:
    _wait_for(system, lambda: not rows.any("PENDING", "PROCESSING"))


def _all_completed(rows: Rows, expected: int) -> None:
    completed = rows.count("COMPLETED")
    if completed != expected:
        raise ServerError(f"{completed} of {expected} tasks are COMPLETED")


def _wait_for(system: System, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + FINISH_SECONDS
    while not condition():
        system.check()
        if time.monotonic() > deadline:
            raise ServerError(f"tasks are not completed after {FINISH_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)
