"""How long one task takes with nothing else to do: all systems are up, and take turns."""

import json
import random
import socket
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.load import ACCEPTED, is_whole, request
from bench.measure import Effort, Results
from bench.servers import Rows, Servers
from bench.systems import System
from tests.local.servers import HOST, ServerError

#: Seconds between looks at the row that is waited for.
LOOK_SECONDS = 0.0003
#: To look takes a tenth of two cores, so nobody looks in the first part of the usual time.
UNSEEN = 0.6
#: So many of the latest tasks tell the usual time.
LATEST = 50
WARM_UP_TASKS = 100
GIVE_UP_SECONDS = 20.0


def measure(
    servers: Servers, names: Sequence[str], logs: Path, effort: Effort
) -> dict[str, Results]:
    """Measure each of the systems.

    A minute apart they would be compared on machines of different speed: a virtual one is faster
    or slower by half from one minute to the next.
    """
    with ExitStack() as stack:
        watchers = {}
        for name in names:
            system = stack.enter_context(servers.fresh(name, logs / name))
            system.start_api()
            system.start_worker()
            rows = stack.enter_context(Rows(system.database_url))
            watchers[name] = Watcher(system, rows)
        for watcher in watchers.values():
            watcher.take(WARM_UP_TASKS)
            watcher.took.clear()
        for _ in range(effort.turns):
            for name in random.sample(names, len(names)):
                watchers[name].take(effort.tasks_a_turn)
        return {name: watcher.results() for name, watcher in watchers.items()}


class Watcher:
    """Submits a task and watches its row, then the next one."""

    def __init__(self, system: System, rows: Rows) -> None:
        self._port = system.port
        self._rows = rows
        self._question = request(system.port)
        #: Seconds from each submission until its row was seen COMPLETED.
        self.took: list[float] = []

    def take(self, times: int) -> None:
        """Take a turn, over a connection of its own: an API closes one that is idle for 5 s."""
        with socket.create_connection((HOST, self._port), timeout=GIVE_UP_SECONDS) as api:
            api.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(times):
                self.took.append(self._submit_and_watch(api))

    def results(self) -> Results:
        took = sorted(1000 * seconds for seconds in self.took)
        return {"idle_p50": statistics.median(took), "idle_p99": took[int(len(took) * 0.99)]}

    def _submit_and_watch(self, api: socket.socket) -> float:
        began = time.monotonic()
        task_id = self._submit(api)
        unseen = UNSEEN * statistics.median(self.took[-LATEST:] or [0.0])
        # At another moment each time, or the looks would fall on the same steps of all tasks.
        _sleep_until(began + unseen + random.uniform(0, LOOK_SECONDS))
        while (status := self._rows.status(task_id)) != "COMPLETED":
            if time.monotonic() > began + GIVE_UP_SECONDS:
                raise ServerError(f"{task_id} is {status} for too long")
            time.sleep(LOOK_SECONDS)
        return time.monotonic() - began

    def _submit(self, api: socket.socket) -> str:
        api.sendall(self._question)
        answer = b""
        while not is_whole(answer):
            more = api.recv(65536)
            if not more:
                raise ServerError(f"the API closed the connection after {answer!r}")
            answer += more
        if not answer.startswith(ACCEPTED):
            raise ServerError(f"not accepted: {answer!r}")
        return str(json.loads(answer.partition(b"\r\n\r\n")[2])["task_id"])


def _sleep_until(moment: float) -> None:
    if (seconds := moment - time.monotonic()) > 0:
        time.sleep(seconds)
