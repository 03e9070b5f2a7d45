"""On what a benchmark ran: machine, servers and packages."""

import os
import platform
import subprocess
from pathlib import Path

from bench.servers import Servers
from bench.systems import VENV

PACKAGES = (
    "celery",
    "dramatiq",
    "fastapi",
    "uvicorn",
    "uvloop",
    "httptools",
    "sqlalchemy",
    "pymysql",
    "pika",
)
_ASK = "import importlib.metadata as m, sys; [print(n, m.version(n)) for n in sys.argv[1:]]"


def describe(servers: Servers) -> dict[str, str]:
    flush = servers.database.sql("SELECT @@GLOBAL.innodb_flush_log_at_trx_commit")
    return {
        "machine": f"{os.cpu_count()} cores, {_memory_gib():.0f} GiB, {_cpu_model()}, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "servers": f"MariaDB {servers.database.version()}, RabbitMQ {servers.broker.version()}, "
        f"innodb_flush_log_at_trx_commit = {flush}",
    }


def packages() -> dict[str, str]:
    """Return the versions that the peers run on, which are ours where both use a package."""
    command = [str(VENV / "bin/python"), "-c", _ASK, *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
