"""A private MariaDB server."""

import os
import pwd
import re
import shutil
from pathlib import Path

from tests.local.servers import HOST, PASSWORD, USER, Server, ServerError


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
        return self._url(name)

    def ensure_database(self, name: str, schema: Path) -> str:
        """Make a database unless it exists; what it holds is kept. Returns its URL."""
        self.sql(f"CREATE DATABASE IF NOT EXISTS {name}")
        self.sql(schema.read_text(encoding="utf-8"), name)
        return self._url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, if it exists."""
        self.sql(f"DROP DATABASE IF EXISTS `{name}`")

    def version(self) -> str:
        return self.sql("SELECT VERSION()")

    def _url(self, name: str) -> str:
        return f"mysql+pymysql://{USER}:{PASSWORD}@{HOST}:{self.ports['sql']}/{name}"

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
