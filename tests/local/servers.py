"""Private MariaDB and RabbitMQ servers for the tests and the demo.

A developer's machine may run such servers for other purposes, so these never touch one they did
not start: own ports, own data, own configuration, only on 127.0.0.1.  All state (ports, process)
lies in files of the server's folder, so that any process that makes an object on the same folder
controls the same server: the runner starts it, a test kills it, the runner stops it.
"""

import base64
import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote

HOST = "127.0.0.1"
USER = PASSWORD = "tasks"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
COMMAND_SECONDS = 30.0

_given: set[int] = set()


class ServerError(RuntimeError):
    """A server did not do what was asked of it, or not in time."""


class ApiError(ServerError):
    """The broker's management API answered with an error."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def wait_until(predicate: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until the predicate holds; never for longer than the limit."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise ServerError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.05)


def free_port() -> int:
    """Choose a port nobody listens on, below those the kernel lends to outgoing connections.

    On a port of the kernel's range, a client that retries while the server is down may connect to
    itself and so keep the server from coming back.  SystemRandom, because a seeded generator would
    make simultaneous test runs choose the same ports.
    """
    for port in random.SystemRandom().sample(range(20000, 32000), 1000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            if port not in _given:
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


class DatabaseServer(Server):
    """A MariaDB server; the user `tasks` owns every database whose name begins with `tasks`."""

    title = "MariaDB"
    package = "mariadb-server"
    programs = ("mariadbd|mysqld", "mariadb-install-db|mysql_install_db", "mariadb|mysql")
    directories = (*os.get_exec_path(), "/usr/sbin")
    port_names = ("sql",)

    # Relative to the data folder: a full path could exceed the 107 bytes of a socket's address.
    _socket = "--socket=mariadb.sock"

    def sql(self, statement: str, database: str = "") -> str:
        """Run statements with all rights; the rows, tab-separated, without column names."""
        options = ("--no-defaults", _ACCOUNT, self._socket, "--batch", "--skip-column-names")
        client, charset = self.programs[2], "--default-character-set=utf8mb4"
        return self._run(client, *options, charset, database, stdin=statement).rstrip("\n")

    def create_database(self, name: str, schema: Path) -> str:
        """Make a database (anew, if it exists) from an SQL file; returns its URL."""
        if not re.fullmatch(r"tasks\w*", name):
            raise ValueError(f"the user {USER} has no rights on a database named {name!r}")
        self.sql(f"CREATE OR REPLACE DATABASE {name}")
        self.sql(schema.read_text(encoding="utf-8"), name)
        return f"mysql+pymysql://{USER}:{PASSWORD}@{HOST}:{self.ports['sql']}/{name}"

    def drop_database(self, name: str) -> None:
        """Remove a database, if it exists."""
        self.sql(f"DROP DATABASE IF EXISTS `{name}`")

    def version(self) -> str:
        return self.sql("SELECT VERSION()")

    def _answers(self) -> bool:
        try:
            return self.sql("SELECT 1") == "1"
        except ServerError:
            return False

    def _launch(self) -> None:
        root = ("--user=root",) if os.geteuid() == 0 else ()  # else it refuses to run as root
        if not self.data.exists():
            fresh = self.folder / "data.new"  # renamed when complete: no half-made data folder
            shutil.rmtree(fresh, ignore_errors=True)
            account = _ACCOUNT.replace("--user", "--auth-root-socket-user")
            options = ("--no-defaults", f"--datadir={fresh}", "--skip-test-db", account, *root)
            self._run(self.programs[1], *options)
            fresh.rename(self.data)
        accounts = self.folder / "accounts.sql"
        accounts.write_text(
            f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON `{USER}%`.* TO '{USER}'@'%';\n"  # no SUPER: read_only is to bind it
        )
        self._spawn(
            self._program(self.programs[0]) or "",
            "--no-defaults",
            *root,
            f"--datadir={self.data}",
            f"--init-file={accounts}",
            f"--bind-address={HOST}",
            f"--port={self.ports['sql']}",
            self._socket,
            "--skip-name-resolve",
            "--skip-log-bin",
            "--character-set-server=utf8mb4",
        )


# The one account with all rights is let in over the socket for being this user of the machine.
_ACCOUNT = f"--user={pwd.getpwuid(os.geteuid()).pw_name}"


class BrokerServer(Server):
    """A RabbitMQ server with its management API.

    It runs without epmd, the daemon by which Erlang nodes find each other: that would outlive the
    broker, and one port known to the broker and to rabbitmqctl does as well.
    """

    title = "RabbitMQ"
    package = "rabbitmq-server"
    programs = ("rabbitmq-server", "rabbitmqctl")
    # Not those on the PATH: Debian wraps them in a script that changes to another user.
    directories = (
        "/usr/lib/rabbitmq/bin",
        *sorted(map(str, Path("/usr/lib/rabbitmq").glob("lib/*/sbin"))),
    )
    port_names = ("amqp", "management", "erlang")

    def api(self, method: str, path: str, body: object | None = None) -> Any:
        """Call the management API; the path begins after `/api`, its parts are quoted."""
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"http://{HOST}:{self.ports['management']}/api{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=COMMAND_SECONDS) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read().decode(errors="replace")
            raise ApiError(f"{method} {path}: {error.code} {reason}", error.code) from None
        except OSError as error:
            raise ServerError(f"{method} {path}: {error}") from error
        return json.loads(answer) if answer else None

    def create_vhost(self, name: str) -> str:
        """Make a virtual host, unless it exists; returns its URL."""
        vhost = quote(name, safe="")
        self.api("PUT", f"/vhosts/{vhost}")
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        self.api("PUT", f"/permissions/{vhost}/{USER}", rights)
        return f"amqp://{USER}:{PASSWORD}@{HOST}:{self.ports['amqp']}/{vhost}"

    def delete_vhost(self, name: str) -> None:
        """Remove a virtual host with all that is in it."""
        self.api("DELETE", f"/vhosts/{quote(name, safe='')}")

    def alarm(self, on: bool) -> None:
        """Make the broker believe that it is out of memory: it then blocks all publishers."""
        self._run("rabbitmqctl", "set_vm_memory_high_watermark", "0" if on else "0.4")
        wait_until(lambda: self._alarmed() is on, STOP_SECONDS, f"the memory alarm to be {on}")

    def wipe(self) -> None:
        """Lose everything, virtual hosts included, and start as new."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
        self.start()

    def version(self) -> str:
        return str(self.api("GET", "/overview")["rabbitmq_version"])

    def _alarmed(self) -> bool:
        try:
            self.api("GET", "/health/checks/alarms")
        except ApiError as error:
            return error.status == 503
        return False

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.ports["amqp"]), timeout=1) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01" and bool(self.version())
        except (OSError, ServerError):
            return False

    def _environment(self) -> dict[str, str]:
        alone = f"-start_epmd false -erl_epmd_port {self.ports['erlang']}"
        node = f"tasks-{self.ports['amqp']}@localhost"
        return super()._environment() | {  # HOME keeps the Erlang cookie private
            "RUNNING_UNDER_SYSTEMD": "1",  # no shell between us and the server
            "ERL_CRASH_DUMP_SECONDS": "0",  # no dump in whatever folder we are in
            "RABBITMQ_NODENAME": node,
            "RABBITMQ_CONF_ENV_FILE": os.devnull,  # not the machine's, likewise the two below
            "RABBITMQ_CONFIG_FILES": str(self.folder / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.folder / "rabbitmq.pid"),
            "RABBITMQ_DIST_PORT": str(self.ports["erlang"]),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-sname {node} {alone} "
            "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +stbt u +sbwt none",
            "RABBITMQ_CTL_ERL_ARGS": f"{alone} -dist_listen false",
        }

    def _launch(self) -> None:
        settings = {
            "listeners.tcp.1": f"{HOST}:{self.ports['amqp']}",
            "management.tcp.ip": HOST,
            "management.tcp.port": self.ports["management"],
            "default_user": USER,
            "default_pass": PASSWORD,
            "default_user_tags.administrator": "true",
        }
        lines = [f"{key} = {value}\n" for key, value in settings.items()]
        (self.folder / "rabbitmq.conf").write_text("".join(lines))
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        self._spawn(self._program("rabbitmq-server") or "")
