"""The two services as processes of this machine, on whatever database and broker they are given."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

import httpx2

from tests.local.servers import HOST, ServerError, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0


class Service:
    """A process of one of the services. ``log`` is where it writes; None is the terminal."""

    def __init__(self, name: str, settings: Mapping[str, str], log: Path | None) -> None:
        self.name = name
        self.log = log
        output: IO[bytes] | None = log.open("ab") if log else None
        # Nothing of the developer's own settings: they could lead to another database.
        inherited = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TERM")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "src.main"],
            cwd=ROOT / name,
            env={**inherited, **settings},
            stdout=output,
            stderr=output,
            # Ctrl-C is for the runner, which stops its children in order.
            start_new_session=True,
        )
        if output:
            output.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def runs(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self.runs():
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait(10)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self, seconds: float = 40.0) -> int:
        """End it in good order; return its exit code."""
        self.signal(signal.SIGTERM)
        self.thaw()
        return self.wait(seconds)

    def wait(self, seconds: float) -> int:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            # Where it has a handler for faults it writes where its threads stand.
            self.signal(signal.SIGABRT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self.kill()
            raise ServerError(
                f"{self.name} did not end within {seconds:g} s; its last words:\n"
                f"{self.output()[-4000:]}"
            ) from None

    def sockets(self) -> int:
        """Count the sockets that it has open."""
        found = 0
        for file in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found += str(file.readlink()).startswith("socket:")
        return found

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log else ""


class LocalStack:
    """An API and any number of workers over one database and, perhaps, one broker."""

    def __init__(
        self,
        database_url: str,
        broker_url: str = "",
        *,
        logs: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.database_url = database_url
        self.broker_url = broker_url
        self.port = port or free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.services: list[Service] = []
        self._logs = logs
        self._settings = {
            "DATABASE_URL": database_url,
            "BROKER_URL": broker_url,
            **(settings or {}),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_api(self, **settings: str) -> Service:
        """Start an API and wait until it takes requests."""
        port = int(settings.get("API_PORT", self.port))
        api = self._start("api-service", {"API_PORT": str(port), **settings})
        url = f"http://{HOST}:{port}/health/live"

        def answers() -> bool:
            if not api.runs():
                raise ServerError(f"api-service ended while starting\n{api.output()[-2000:]}")
            try:
                return httpx2.get(url, timeout=2).status_code == 200
            except httpx2.HTTPError:
                return False

        wait_until(answers, START_SECONDS, f"the API to answer on {url}")
        return api

    def start_worker(self, **settings: str) -> Service:
        """Start a worker; it takes tasks as soon as it has registered."""
        return self._start("worker-service", settings)

    def stop(self) -> None:
        """Stop all that still runs, the workers first, so that nobody is waited for in vain."""
        running = [service for service in reversed(self.services) if service.runs()]
        for service in running:
            service.signal(signal.SIGTERM)
            service.thaw()
        deadline = time.monotonic() + 40
        for service in running:
            service.wait(max(1.0, deadline - time.monotonic()))

    def _start(self, name: str, settings: Mapping[str, str]) -> Service:
        log = self._logs / f"{name}-{len(self.services)}.log" if self._logs else None
        service = Service(name, {**self._settings, **settings}, log)
        self.services.append(service)
        return service
