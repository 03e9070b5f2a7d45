"""A private RabbitMQ server."""

import base64
import json
import os
import shutil
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.local.servers import (
    COMMAND_SECONDS,
    HOST,
    PASSWORD,
    STOP_SECONDS,
    USER,
    Server,
    ServerError,
    wait_until,
)


class ApiError(ServerError):
    """The broker's management API answered with an error."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


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
        return self._run("rabbitmqctl", "version").strip()

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
                return connection.recv(1) == b"\x01" and bool(self.api("GET", "/whoami"))
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
