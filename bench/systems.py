"""The systems that are compared, each as its own users would start it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import httpx2

from bench.names import TITLES
from bench.processes import Program
from tests.local.servers import HOST, ServerError, free_port, wait_until
from tests.local.services import ROOT, LocalStack

VENV = ROOT / ".venv-bench"
PEERS = ROOT / "bench" / "peers"
START_SECONDS = 30.0


class System(ABC):
    """An API and, when it is started, a worker, over a database and a broker of their own."""

    def __init__(self, database_url: str, broker_url: str, logs: Path) -> None:
        self.database_url = database_url
        self.broker_url = broker_url
        self.logs = logs
        self.port = free_port()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def start_api(self) -> int:
        """Return its pid, once it answers."""

    @abstractmethod
    def start_worker(self) -> int:
        """Return its pid at once; it takes tasks when it can."""

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def check(self) -> None:
        """Raise ServerError if a process of it has ended."""


class Ours(System):
    """This project, with its defaults but for the number of slots and what is for short tasks."""

    settings: ClassVar[dict[str, str]] = {
        "WORKER_CONCURRENCY": "16",
        "WORKER_PREFETCH": "1000",
        "WORK_SECONDS": "0",
        "LOG_LEVEL": "INFO",
    }

    def __init__(self, database_url: str, broker_url: str, logs: Path) -> None:
        super().__init__(database_url, broker_url, logs)
        self._stack = LocalStack(
            database_url, broker_url, logs=logs, port=self.port, settings=self.settings
        )

    def start_api(self) -> int:
        return self._stack.start_api().pid

    def start_worker(self) -> int:
        return self._stack.start_worker().pid

    def stop(self) -> None:
        self._stack.stop()

    def check(self) -> None:
        for service in self._stack.services:
            if not service.runs():
                raise ServerError(f"{service.name} has ended")


class Peer(System):
    """A module of ``bench.peers``: its ``api`` under uvicorn, and a worker's command."""

    module: str
    worker: tuple[str, ...]

    def __init__(self, database_url: str, broker_url: str, logs: Path) -> None:
        super().__init__(database_url, broker_url, logs)
        self._programs: list[Program] = []

    def start_api(self) -> int:
        api = f"bench.peers.{self.module}:api"
        options = ("--host", HOST, "--port", str(self.port), "--no-access-log")
        program = self._start("api", "-m", "uvicorn", api, *options)

        def answers() -> bool:
            self.check()
            try:
                return httpx2.get(f"http://{HOST}:{self.port}/health", timeout=2).is_success
            except httpx2.HTTPError:
                return False

        wait_until(answers, START_SECONDS, "the API to answer")
        return program.pid

    def start_worker(self) -> int:
        return self._start("worker", *self.worker).pid

    def stop(self) -> None:
        for program in reversed(self._programs):
            program.stop()

    def check(self) -> None:
        for program in self._programs:
            if not program.runs():
                raise ServerError(f"a process has ended, see {program.log}")

    def _start(self, name: str, *arguments: str) -> Program:
        settings = {"DATABASE_URL": self.database_url, "BROKER_URL": self.broker_url}
        command = [str(VENV / "bin/python"), *arguments]
        program = Program(command, ROOT, settings, self.logs / f"{name}.log")
        self._programs.append(program)
        return program


class Celery(Peer):
    module = "celery_app"
    worker = ("-m", "celery", "-A", "bench.peers.celery_app", "worker", "-c", "2", "-l", "INFO")


class Dramatiq(Peer):
    module = "dramatiq_app"
    worker = ("-m", "dramatiq", "bench.peers.dramatiq_app", "--processes", "2", "--threads", "8")


class Typical(Peer):
    module = "typical_app"
    worker = ("-m", "bench.peers.typical_app")


@dataclass(frozen=True)
class Kind:
    """A system to compare, and how many tasks keep it busy for a few seconds."""

    title: str
    make: Callable[[str, str, Path], System]
    schema: Path
    backlog: int
    end_to_end: int


KINDS = {
    "ours": Kind(TITLES["ours"], Ours, ROOT / "db/init.sql", 20_000, 10_000),
    "celery": Kind(TITLES["celery"], Celery, PEERS / "schema.sql", 2_000, 1_500),
    "dramatiq": Kind(TITLES["dramatiq"], Dramatiq, PEERS / "schema.sql", 3_000, 2_000),
    "typical": Kind(TITLES["typical"], Typical, PEERS / "schema.sql", 600, 400),
}
