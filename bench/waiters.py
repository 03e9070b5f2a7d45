"""What waiting clients cost the others: p99 of a plain lookup, with many that wait and with none.

    .venv/bin/python -m bench.waiters [waiters] [rounds]

Needs MariaDB or MySQL on this machine, as ./dev start --real does; it starts one of its own.
"""

import http.client
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.client import Client
from tests.local.database import DatabaseServer
from tests.local.servers import HOST, wait_until
from tests.local.services import ROOT, LocalStack, Service

LOOKUPS = 2_000
#: Sockets of the API that come and go for other reasons, such as its connections to the database.
SLACK = 20


def main(waiters: int = 500, rounds: int = 5) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        database = stack.enter_context(DatabaseServer(folder / "database"))
        url = database.create_database("tasks_bench", ROOT / "db/init.sql")
        system = stack.enter_context(LocalStack(url, logs=folder, settings={"LOG_LEVEL": "ERROR"}))
        api = system.start_api()
        client = Client(system.url)
        tasks = [{"title": f"Task {n}", "description": "D"} for n in range(waiters)]
        task_ids = client.submit_batch(tasks)
        task_id = task_ids[0]
        p99(system.port, task_id)
        ratios = []
        for number in range(rounds):
            without = p99(system.port, task_id)
            with hold(api, system.port, task_ids):
                among = p99(system.port, task_id)
            ratios.append(among / without)
            print(f"round {number + 1}: p99 {without:.2f} ms alone, {among:.2f} ms among {waiters}")
        print(f"ratio, median of {rounds}: {statistics.median(ratios):.2f}")
        client.close()


def p99(port: int, task_id: str) -> float:
    """Look a task up again and again; return the p99 in milliseconds."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    times = []
    for _ in range(LOOKUPS):
        began = time.perf_counter()
        connection.request("GET", f"/api/tasks/{task_id}")
        connection.getresponse().read()
        times.append((time.perf_counter() - began) * 1000)
    connection.close()
    return sorted(times)[int(LOOKUPS * 0.99)]


@contextmanager
def hold(api: Service, port: int, task_ids: Sequence[str]) -> Iterator[None]:
    """Have a client wait for each of the tasks."""
    before = api.sockets()
    sockets = []
    for number, task_id in enumerate(task_ids):
        waiter = socket.create_connection((HOST, port), timeout=10)
        request = f"GET /api/tasks/{task_id}?wait=60 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        waiter.sendall(request.encode())
        sockets.append(waiter)
        if number % 50 == 49:
            # More at once are refused; those that wait already do not count.
            connected = before + len(sockets) - SLACK
            wait_until(partial(_has_sockets, api, connected), 20, "them to be connected")
            look_up(port, task_id)
    yield
    for waiter in sockets:
        waiter.close()
    wait_until(lambda: api.sockets() <= before + SLACK, 20, "them to be gone")


def _has_sockets(api: Service, count: int) -> bool:
    return api.sockets() >= count


def look_up(port: int, task_id: str) -> None:
    """Look up once: it is answered after those that came before."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.request("GET", f"/api/tasks/{task_id}")
    connection.getresponse().read()
    connection.close()


if __name__ == "__main__":
    main(*[int(argument) for argument in sys.argv[1:]])
