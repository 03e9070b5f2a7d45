"""An API on SQLite in this process for the unit tests, and a running stack for the flow."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import delete

from src.config import Settings
from src.db.database import Database
from src.main import create_app
from src.models.tables import Base

SERVICE = Path(__file__).resolve().parents[1]
WORKER = SERVICE.parent / "worker-service"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs a private MySQL or MariaDB where there is none; ./dev tells so."""
    if not os.environ.get("TEST_DATABASE_URL"):
        items[:] = [item for item in items if "real_database" not in _fixtures(item)]


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else ()


@pytest.fixture
def real_database() -> Iterator[Database]:
    """A MySQL or MariaDB with empty tables."""
    database = Database(os.environ["TEST_DATABASE_URL"])
    with database.engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            connection.execute(delete(table))
    yield database
    database.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    # Nothing of the stack's own, in whose container these tests run too.
    return Settings(
        database_url=f"sqlite:///{tmp_path / 'tasks.db'}",
        broker_url="",
        api_keys=(),
        webhook_secret=(),
    )


@pytest.fixture
def app(settings: Settings) -> Iterator[FastAPI]:
    """An application whose lifespan never runs: it must start what it needs by itself."""
    app = create_app(settings)
    yield app
    app.state.close()


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def submit(client: TestClient) -> Callable[..., httpx2.Response]:
    """Submit a valid task in which the keywords replace a field each."""

    def post(**fields: Any) -> httpx2.Response:
        body = {"title": "A report", "description": "Collect the figures", **fields}
        return client.post("/api/tasks", json=body)

    return post


@pytest.fixture(scope="session")
def stack_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The running stack where there is one (STACK_URL), else both services on SQLite."""
    if url := os.environ.get("STACK_URL"):
        yield url
        return
    folder = tmp_path_factory.mktemp("stack")
    port = _free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": f"sqlite:///{folder / 'tasks.db'}",
        "API_PORT": str(port),
    }
    with (folder / "log").open("wb") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "src.main"],
                cwd=service,
                env=environment,
                stdout=log,
                stderr=log,
            )
            for service in (SERVICE, WORKER)
        ]
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _is_ready(url), 30, "the stack to be ready")
        yield url
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until the condition holds; fail after so long, naming what was awaited."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.05)


def fields(response: httpx2.Response) -> Sequence[str]:
    """Return the fields that a 400 complains of."""
    return [error["field"] for error in response.json()["errors"]]


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/ready", timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
