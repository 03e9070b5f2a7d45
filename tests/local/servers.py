"""Private MariaDB and RabbitMQ servers for the tests and the demo.

A developer's machine may run such servers for other purposes, so these never touch one they did
not start: own ports, own data, own configuration, only on 127.0.0.1.  All state (ports, process)
lies in files of the server's folder, so that any process that makes an object on the same folder
controls the same server: the runner starts it, a test kills it, the runner stops it.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

HOST = "127.0.0.1"
USER = PASSWORD = "tasks"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
COMMAND_SECONDS = 30.0

_given: set[int] = set()


class ServerError(RuntimeError):
    """A server did not do what was asked of it, or not in time."""


def wait_until(predicate: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until the predicate holds; never for longer than the limit."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise ServerError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.05)


def is_free(port: int) -> bool:
    """Tell whether nobody listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Choose a port nobody listens on, below those the kernel lends to outgoing connections.

    On a port of the kernel's range, a client that retries while the server is down may connect to
    itself and so keep the server from coming back.  SystemRandom, because a seeded generator would
    make simultaneous test runs choose the same ports.
    """
    for port in random.SystemRandom().sample(range(20000, 32000), 1000):
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise ServerError("found no free port")


class Server(ABC):
    """A server process that belongs to a folder rather than to the process that started it."""

    title: ClassVar[str]
    package: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]  # each one name, or several separated by "|"
    directories: ClassVar[tuple[str, ...]]  # where the programs are looked for
    port_names: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self._process = self.folder / "process"
        ports = self.folder / "ports.json"
        if not ports.exists():
            ports.write_text(json.dumps({name: free_port() for name in self.port_names}))
        self.ports: dict[str, int] = json.loads(ports.read_text())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @classmethod
    def _program(cls, names: str) -> str | None:
        path = os.pathsep.join(cls.directories)
        found = (shutil.which(name, path=path) for name in names.split("|"))
        return next(filter(None, found), None)

    @classmethod
    def available(cls) -> str | None:
        """None if the server can be run here, else one sentence that says what to install."""
        if all(map(cls._program, cls.programs)):
            return None
        return f"{cls.title} is not installed here; do: apt-get install {cls.package}"

    def start(self) -> None:
        """Return with the server answering: thawed if it runs, else started on the data it had."""
        if (missing := self.available()) is not None:
            raise ServerError(missing)
        if self.running():
            self.thaw()
        else:
            self._launch()
        try:
            wait_until(self._started, START_SECONDS, f"{self.title} to answer")
        except ServerError as error:
            self.kill()
            lines = self.log.read_text(errors="replace").splitlines()[-20:]
            raise ServerError("\n".join([f"{error}; the end of {self.log}:", *lines])) from None

    def stop(self) -> None:
        """End the server in good order, by force if it takes too long."""
        self._signal(signal.SIGTERM)
        self.thaw()  # a frozen process does not hear the request
        try:
            wait_until(lambda: not self.running(), STOP_SECONDS, f"{self.title} to stop")
        except ServerError:
            self.kill()

    def kill(self) -> None:
        """End the server as a crash would."""
        self._signal(signal.SIGKILL)
        wait_until(lambda: not self.running(), STOP_SECONDS, f"{self.title} to die")

    def freeze(self) -> None:
        """Make the server keep its connections but answer nothing, as a lost network would."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def running(self) -> bool:
        """Whether the process lives, whoever started it."""
        return self._pid() is not None

    @abstractmethod
    def version(self) -> str:
        """Ask the running server for its version."""

    @abstractmethod
    def _launch(self) -> None:
        """Prepare the folder and spawn the server."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server is ready for use."""

    def _started(self) -> bool:
        if not self.running():
            raise ServerError(f"{self.title} ended while starting")
        return self._answers()

    def _environment(self) -> dict[str, str]:
        """Nothing of the developer's own settings, which could lead to another server."""
        path = os.environ.get("PATH", os.defpath)
        return {"PATH": path, "HOME": str(self.folder), "LANG": "C.UTF-8"}

    def _spawn(self, *command: str) -> None:
        """Run the server in a session of its own: it outlives us, and Ctrl-C is not for it."""
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            command[0],
            command,
            self._environment(),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE],
        )
        self._process.write_text(f"{pid} {_stat(pid)[19]}")

    def _pid(self) -> int | None:
        """Find the live process; a pid alone could be another's by now, hence its time of start."""
        try:
            number, birth = self._process.read_text().split()
            stat = _stat(pid := int(number))
        except (FileNotFoundError, ProcessLookupError):
            return None
        if stat[19] != birth:
            return None
        if stat[0] in "ZX" and int(stat[17]) <= 1:  # dead, and no thread still holds its ports
            with suppress(ChildProcessError):  # a zombie waits for its parent, if that is us
                os.waitpid(pid, os.WNOHANG)
            return None
        return pid

    def _signal(self, number: signal.Signals) -> None:
        if (pid := self._pid()) is not None:
            with suppress(ProcessLookupError):
                os.killpg(pid, number)

    def _run(self, program: str, *arguments: str, stdin: str = "") -> str:
        """Return the output of a command that is to succeed."""
        command = [self._program(program) or program, *arguments]
        try:
            done = subprocess.run(
                command,
                input=stdin,
                cwd=self.data if self.data.exists() else self.folder,
                env=self._environment(),
                capture_output=True,
                encoding="utf-8",
                timeout=COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"{command[0]} took longer than {COMMAND_SECONDS:g} s") from error
        if done.returncode != 0:
            raise ServerError(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat from the state on: [0] state, [17] number of threads, [19] time of start."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
