"""The backends and the system on each of them."""

import itertools
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.client import Client, Tables, WorkLog
from tests.local.broker import BrokerServer
from tests.local.database import DatabaseServer
from tests.local.servers import wait_until
from tests.local.services import ROOT, LocalStack, Service

#: Shorter than the defaults, so that outages are over sooner; the proportions are kept.
SETTINGS = {
    "WORK_SECONDS": "0.05",
    "LEASE_SECONDS": "3",
    "FALLBACK_SECONDS": "2",
    "RETRY_BASE_SECONDS": "0.2",
    "SHUTDOWN_GRACE_SECONDS": "5",
}

#: Set by ./dev test where the servers can run; otherwise it says what was left out.
_SERVERS = os.environ.get("TEST_SERVERS")
_numbers = itertools.count()


# Run in the background by a shell we ignore Ctrl-C, and so would all that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: For workers that serve the types of ``task_handlers.py``.
HANDLERS = {"HANDLER_MODULES": "task_handlers", "PYTHONPATH": str(ROOT / "tests")}


@dataclass
class System:
    """A stack with an API, ready to be used and broken."""

    stack: LocalStack
    client: Client
    tables: Tables
    work_log: WorkLog

    def start_worker(self, **settings: str) -> Service:
        """Start a worker with the handlers of the tests and wait until its types are known."""
        worker = self.stack.start_worker(**{**HANDLERS, **settings})

        def is_there() -> bool:
            pids = {row["pid"] for row in self.tables.rows("SELECT pid FROM workers")}
            return worker.pid in pids and "sum" in self.tables.types()

        wait_until(is_there, 20, "the worker to register")
        return worker


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for ``system`` on every backend, and what asks for ``real`` on the real one.

    A ``page`` sees the API alone: one backend will do, the real one where there is one.
    """
    if "backend" in metafunc.fixturenames:
        kinds = ["real"] if "real" in metafunc.fixturenames else ["sqlite", "real"]
        kinds = kinds if _SERVERS else kinds[: kinds.index("real")]
        metafunc.parametrize("backend", kinds[-1:] if "page" in metafunc.fixturenames else kinds)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs servers where there are none; ./dev tells so loudly."""
    if not _SERVERS:
        items[:] = [item for item in items if "real" not in getattr(item, "fixturenames", ())]


@pytest.fixture(scope="session")
def database() -> DatabaseServer:
    assert _SERVERS
    return DatabaseServer(Path(_SERVERS) / "database")


@pytest.fixture(scope="session")
def broker() -> BrokerServer:
    assert _SERVERS
    return BrokerServer(Path(_SERVERS) / "broker")


@pytest.fixture
def real(backend: str, database: DatabaseServer, broker: BrokerServer) -> Iterator[None]:
    """Ask for real servers; whatever the test does to them, the next one finds them well."""
    assert backend == "real"
    yield
    database.start()
    broker.start()


@pytest.fixture
def system(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[System]:
    """Start an API on an empty database and, with real servers, an empty broker."""
    database_url, broker_url = f"sqlite:///{tmp_path / 'tasks.db'}", ""
    if backend == "real":
        name = f"tasks_{os.getpid()}_{next(_numbers)}"
        database: DatabaseServer = request.getfixturevalue("database")
        broker: BrokerServer = request.getfixturevalue("broker")
        database_url = database.create_database(name, ROOT / "db/init.sql")
        broker_url = broker.create_vhost(name)
    work_log = tmp_path / "work.log"
    settings = {**SETTINGS, "WORK_LOG": str(work_log)}
    with LocalStack(database_url, broker_url, logs=tmp_path, settings=settings) as stack:
        stack.start_api()
        client, tables = Client(stack.url), Tables(database_url)
        try:
            yield System(stack, client, tables, WorkLog(work_log))
        finally:
            client.close()
            tables.close()
            if request.node.rep_call_failed:
                for service in stack.services:
                    print(f"--- {service.name} {service.pid}\n{service.output()[-6000:]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Let ``system`` know whether its test failed, so that it shows the logs."""
    report = yield
    item.rep_call_failed = report.when == "call" and report.failed  # type: ignore[attr-defined]
    return report
