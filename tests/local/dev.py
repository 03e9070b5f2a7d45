"""The commands behind ``./dev``: start the system here, test it, check the code."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import command as bench
from tests.local import browser, screenshots
from tests.local.broker import BrokerServer
from tests.local.database import DatabaseServer
from tests.local.servers import Server, ServerError, is_free
from tests.local.services import ROOT, LocalStack

#: Where ``start`` keeps its data; the variable is for the tests.
DATA = Path(os.environ.get("DATA_FOLDER", ROOT / ".data"))
#: A worker that ends sooner than this after its start will do so again.
RESTART_SECONDS = 5.0
_WHOLE_SYSTEM = ("pytest", "-c", "tests/pyproject.toml", "--rootdir", ".")
SERVICES = ("api-service", "worker-service")
CURL = """curl -s {url}/api/tasks -H 'Content-Type: application/json' \\
     -d '{{"title": "Hello", "description": "My first task"}}'"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    start_ = commands.add_parser("start", help="run API and worker on SQLite, no servers needed")
    start_.add_argument("--real", action="store_true", help="on RabbitMQ and MariaDB of their own")
    test_ = commands.add_parser("test", help="run the tests that can run here")
    kind = test_.add_mutually_exclusive_group()
    kind.add_argument("--real", action="store_true", help="fail where the servers are missing")
    kind.add_argument("--compose", action="store_true", help="the Compose stack (needs Docker)")
    test_.add_argument("pytest", nargs="*", help="passed on to the whole system's tests")
    bench.add_arguments(commands.add_parser("bench", help="compare with peers at the same work"))
    key_ = commands.add_parser("key", help="make an API key: print it, and its entry for API_KEYS")
    key_.add_argument("name", help="whose it is")
    key_.add_argument("scope", help="read, submit or admin")
    commands.add_parser("check", help="lint, format, types")
    pictures = commands.add_parser("screenshots", help="take the README's pictures")
    pictures.add_argument("--all", type=Path, metavar="FOLDER", help="of every view, into a folder")
    commands.add_parser("lock", help="resolve the requirements anew")
    arguments = parser.parse_args()
    # Like Ctrl-C, so that children are stopped on either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        match arguments.command:
            case "start":
                return start(real=arguments.real)
            case "test" if arguments.compose:
                return run(
                    "pytest", "-c", "tests/pyproject.toml", "tests/compose", *arguments.pytest
                )
            case "test":
                return test(real=arguments.real, selection=arguments.pytest)
            case "bench":
                return bench.run(arguments)
            case "screenshots":
                return screenshots.take(arguments.all)
            case "key":
                command = ["-m", "src.keys", arguments.name, arguments.scope]
                return run("python", *command, cwd="api-service")
            case "lock":
                return lock()
            case _:
                return check()
    except ServerError as error:
        print(f"dev: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def start(*, real: bool) -> int:
    """Run the system until Ctrl-C."""
    with ExitStack() as stack:
        database_url, broker_url = f"sqlite:///{DATA / 'tasks.db'}", ""
        if real:
            if missing := _missing():
                raise ServerError("; ".join(missing))
            print("dev: starting MariaDB and RabbitMQ of our own (their data stays in .data)")
            database, broker = stack.enter_context(_servers(DATA / "real"))
            database_url = database.ensure_database("tasks", ROOT / "db/init.sql")
            broker_url = broker.create_vhost("tasks")
        port = int(os.environ.get("API_PORT", "8000"))
        if not is_free(port):
            raise ServerError(f"port {port} is taken; choose another: API_PORT=8001 ./dev start")
        wanted = {
            name: value
            for name, value in os.environ.items()
            if name in _SETTINGS or name.startswith("HTTP_SECRET_")
        }
        handlers = _handlers_folder()
        system = LocalStack(database_url, broker_url, port=port, settings=wanted)
        stack.callback(system.stop)
        api, worker = system.start_api(), system.start_worker(**handlers)
        print(f"\nDashboard and API on {system.url}, Swagger UI on {system.url}/docs. Try:\n")
        print(CURL.format(url=system.url))
        print(f"\nand then curl -s {system.url}/api/tasks/<task_id>. Ctrl-C stops everything.\n")
        sys.stdout.flush()
        began = time.monotonic()
        while api.runs():
            signal.sigtimedwait([signal.SIGCHLD], 1)
            if not worker.runs():
                if time.monotonic() - began < RESTART_SECONDS:
                    raise ServerError("the worker has ended, see above")
                # As Compose does: a handler took it down, or wore it out.
                print("dev: the worker has ended, see above; starting another")
                worker, began = system.start_worker(**handlers), time.monotonic()
        raise ServerError("the API has ended, see above")


def test(*, real: bool, selection: list[str]) -> int:
    """Run each service's tests and the whole system's, each in a process of its own."""
    missing, no_browser, no_node = _missing(), browser.missing(), _no_node()
    left_out = [*missing, *filter(None, (no_browser, no_node))]
    if left_out and real:
        raise ServerError("; ".join(left_out))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tasks-")))
        settings = {} if no_browser else {"TEST_BROWSER": "1"}
        settings |= {} if no_node else {"TEST_NODE": "1"}
        if not missing:
            database, _ = stack.enter_context(_servers(folder))
            settings["TEST_SERVERS"] = str(folder)
        failed = []
        for service in SERVICES:
            if not missing:
                name = f"tasks_{service.split('-')[0]}"
                settings["TEST_DATABASE_URL"] = database.create_database(name, ROOT / "db/init.sql")
            if not selection and run("pytest", cwd=service, **settings):
                failed.append(service)
        if run(*_WHOLE_SYSTEM, *(selection or ["tests"]), **settings):
            failed.append("tests")
    if left_out:
        print(
            "\ndev: LEFT OUT, so this says nothing of what needs it (MySQL, outages, the page, …):"
        )
        for sentence in left_out:
            print(f"dev: {sentence}")
    print(f"dev: {'FAILED: ' + ', '.join(failed) if failed else 'all tests passed'}")
    return 1 if failed else 0


def check() -> int:
    """Lint, formatting and types of everything; all is reported before it fails."""
    failed = False
    for service in SERVICES:
        failed |= run("ruff", "check", cwd=service) != 0
        failed |= run("ruff", "format", "--check", cwd=service) != 0
        failed |= run("mypy", cwd=service) != 0
    config, rest = "tests/pyproject.toml", ["tests", "bench"]
    failed |= run("ruff", "check", "--config", config, *rest) != 0
    failed |= run("ruff", "format", "--check", "--config", config, *rest) != 0
    failed |= run("mypy", "--config-file", config, *rest) != 0
    return 1 if failed else 0


def lock() -> int:
    """Write the lock files from what the projects ask for; one version of each package."""
    api = "api-service/requirements.txt"
    jobs = [
        ["api-service/pyproject.toml", "--extra", "test", "-o", api],
        ["worker-service/pyproject.toml", "-c", api, "-o", "worker-service/requirements.txt"],
        ["tests/requirements.in", "-c", api, "-o", "tests/requirements.txt"],
        ["bench/requirements.in", "-c", api, "-o", "bench/requirements.txt"],
    ]
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--upgrade"]
    style = ["--quiet", "--no-header", "--no-annotate"]
    return max(run("uv", "pip", "compile", *options, *style, *job) for job in jobs)


def run(tool: str, *arguments: str, cwd: str = ".", **environment: str) -> int:
    """Run a tool of the virtual environment; return its exit code."""
    command = [str(Path(sys.executable).parent / tool), *arguments]
    return subprocess.run(command, cwd=ROOT / cwd, env={**os.environ, **environment}).returncode


def _handlers_folder() -> dict[str, str]:
    """Make HANDLERS_FOLDER the package ``handlers``, as Compose does by mounting it."""
    folder = os.environ.get("HANDLERS_FOLDER")
    if not folder:
        return {}
    if not Path(folder).is_dir():
        raise ServerError(f"HANDLERS_FOLDER: no folder at {folder}")
    link = DATA / "path" / "handlers"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(Path(folder).resolve())
    # Before worker-service/handlers, which would come first in its own folder.
    path = [str(link.parent), str(ROOT / "worker-service"), os.environ.get("PYTHONPATH")]
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, path))}


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[DatabaseServer, BrokerServer]]:
    with DatabaseServer(folder / "database") as database, BrokerServer(folder / "broker") as broker:
        yield database, broker


def _no_node() -> str | None:
    """None if a receiver of webhooks in JavaScript can be tried, else what to install."""
    return (
        None
        if shutil.which("node")
        else "Node.js is not installed here; do: apt-get install nodejs"
    )


def _missing() -> list[str]:
    kinds: tuple[type[Server], ...] = (DatabaseServer, BrokerServer)
    return [sentence for kind in kinds if (sentence := kind.available())]


#: What of the developer's environment goes to the services; addresses are ours.
_SETTINGS = (
    "QUEUE_TYPE",
    "WORK_SECONDS",
    "WORK_LOG",
    "WORKER_CONCURRENCY",
    "WORKER_PREFETCH",
    "LEASE_SECONDS",
    "FALLBACK_SECONDS",
    "MAX_ATTEMPTS",
    "RETRY_BASE_SECONDS",
    "RETRY_MAX_SECONDS",
    "TASK_TIMEOUT_SECONDS",
    "HANDLER_MODULES",
    "HTTP_ALLOWED_HOSTS",
    "WEBHOOK_SECRET",
    "WEBHOOK_RETRY_SECONDS",
    # Where modules of one's own are looked for.
    "PYTHONPATH",
    "SHUTDOWN_GRACE_SECONDS",
    "MAX_BODY_BYTES",
    "API_KEYS",
    "SECRETS_DIR",
    "LOG_FORMAT",
    "LOG_LEVEL",
)

if __name__ == "__main__":
    sys.exit(main())
