"""The Compose stack as a stranger uses it. Needs Docker; run by ./dev test --compose."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Client
from tests.local.servers import free_port, wait_until
from tests.local.services import ROOT

SERVICES = {"api_service", "worker_service", "db", "rabbitmq"}


class Compose:
    """A project of its own, on ports of its own, with the example's settings."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        ports = {"API_PORT": str(self.port), "RABBITMQ_UI_PORT": str(free_port())}
        self._environment = {**os.environ, **ports}
        self.settings: dict[str, str] = {}

    def __call__(self, *arguments: str, seconds: float = 600) -> str:
        command = ["docker", "compose", "--project-name", "tasks-test"]
        ended = subprocess.run(
            [*command, "--env-file", ".env.example", *arguments],
            cwd=ROOT,
            env={**self._environment, **self.settings},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
        return ended.stdout

    def services(self) -> list[dict[str, object]]:
        lines = self("ps", "--format", "json").strip()
        if lines.startswith("["):
            found: list[dict[str, object]] = json.loads(lines)
            return found
        return [json.loads(line) for line in lines.splitlines()]

    def workers(self) -> list[str]:
        return [str(s["Name"]) for s in self.services() if s["Service"] == "worker_service"]

    def logs_of(self, container: str) -> str:
        ended = subprocess.run(
            ["docker", "logs", container], capture_output=True, text=True, timeout=60
        )
        return ended.stderr


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    compose = Compose()
    compose("down", "--volumes")
    compose("up", "--build", "--detach", "--wait")
    yield compose
    compose("down", "--volumes")


@pytest.fixture
def client(compose: Compose) -> Iterator[Client]:
    client = Client(compose.url)
    yield client
    client.close()


def test_four_services_are_healthy(compose: Compose) -> None:
    services = compose.services()

    assert {service["Service"] for service in services} == SERVICES
    assert {service["Health"] for service in services} == {"healthy"}


def test_only_the_api_and_the_management_are_published_and_on_loopback(compose: Compose) -> None:
    published = {
        (str(service["Service"]), str(publisher["URL"]))
        for service in compose.services()
        for publisher in service["Publishers"] or []  # type: ignore[attr-defined]
        if publisher["PublishedPort"]
    }

    assert published == {("api_service", "127.0.0.1"), ("rabbitmq", "127.0.0.1")}


def test_nobody_runs_as_root(compose: Compose) -> None:
    for service in ("api_service", "worker_service"):
        assert compose("exec", "-T", service, "id", "-u").strip() != "0"


def test_the_tour_of_the_readme_works_as_it_is_pasted(compose: Compose) -> None:
    readme = (ROOT / "README.md").read_text()
    [tour] = re.findall(r"```sh\n(API=.*?)```", readme, flags=re.DOTALL)
    assert "http://localhost:8000" in tour

    ended = subprocess.run(
        ["sh", "-e", "-c", tour.replace("http://localhost:8000", compose.url)],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ended.returncode == 0, ended.stderr
    statuses = re.findall(r'"status": ?"?(\w+)', ended.stdout)
    assert statuses[0] in ("PENDING", "PROCESSING")
    ended_as = ["COMPLETED", "PENDING", "COMPLETED", "CANCELLED"]
    expected = [*ended_as, "400", "COMPLETED", "PENDING", "COMPLETED", "ok"]
    assert statuses[1:] == expected, ended.stdout


def test_the_tests_of_the_api_pass_inside(compose: Compose) -> None:
    assert " passed" in compose("exec", "-T", "api_service", "pytest")


def test_tasks_are_shared_by_scaled_workers(compose: Compose, client: Client) -> None:
    compose("up", "--detach", "--wait", "--scale", "worker_service=3")

    task_ids = [client.simulate(1) for _ in range(48)]

    assert client.wait_for_all(task_ids, seconds=60) == {"COMPLETED": 48}
    assert len({client.get(task_id)["worker"] for task_id in task_ids}) == 3
    compose("up", "--detach", "--wait", "--scale", "worker_service=1")


def test_a_killed_workers_task_is_run_again_within_25_seconds(
    compose: Compose, client: Client
) -> None:
    compose("up", "--detach", "--wait", "--scale", "worker_service=2")
    task_ids = [client.simulate(30) for _ in range(2)]
    for task_id in task_ids:
        client.wait_for(task_id, "PROCESSING")

    # The tasks may be with one of them or with both: kill the one that has the first.
    worker = client.get(task_ids[0])["worker"]
    [container] = [name for name in compose.workers() if worker in compose.logs_of(name)]
    subprocess.run(["docker", "kill", container], check=True, capture_output=True, timeout=60)

    wait_until(lambda: client.get(task_ids[0])["attempt"] == 2, 25, "the second attempt")
    assert client.get(task_ids[0])["crashes"] == 1
    compose("up", "--detach", "--wait", "--scale", "worker_service=1")


MINE = """
import subprocess
from src.handlers import Context, handler

@handler("mine", process=True)
def mine(payload, context: Context):
    if payload.get("leave"):
        subprocess.Popen(["sleep", "1000"])
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
    return {"title": context.title}
"""


@pytest.fixture
def settings(compose: Compose) -> Iterator[dict[str, str]]:
    """Settings for one test; afterwards the services have those of the example again."""
    yield compose.settings
    compose.settings.clear()
    compose("up", "--detach", "--wait")


def test_handlers_of_ones_own_are_mounted_and_run(
    compose: Compose, client: Client, settings: dict[str, str], tmp_path: Path
) -> None:
    assert client.post(type="mine").status_code == 400
    (tmp_path / "mine.py").write_text(MINE)
    # The worker is another user, and what pytest makes is private.
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)

    settings.update(HANDLERS_FOLDER=str(tmp_path), HANDLER_MODULES="handlers.mine")
    compose("up", "--detach", "--wait")

    wait_until(lambda: client.post(type="mine").status_code == 202, 20, "the type to be known")
    task = client.wait_for(client.run("mine", {"leave": True}, title="Mine"))
    assert (task["status"], task["result"]) == ("COMPLETED", {"title": "Mine"})
    processes = compose("exec", "-T", "worker_service", "sh", "-c", "cat /proc/[0-9]*/stat")
    assert "(sleep) Z" not in processes
    assert processes.count("(sleep) S") == 1, "what left the group is nobody's"


def test_the_examples_are_in_the_image(
    compose: Compose, client: Client, settings: dict[str, str]
) -> None:
    settings.update(HANDLER_MODULES="handlers.examples")
    compose("up", "--detach", "--wait")

    wait_until(
        lambda: client.post(type="greet", metadata={"name": "Ada"}).status_code == 202, 20, "it"
    )
    task = client.wait_for(client.run("primes", {"below": 1000}))
    assert (task["status"], task["result"]) == ("COMPLETED", {"primes": 168})


def test_a_quorum_queue_keeps_priorities_too(
    compose: Compose, client: Client, settings: dict[str, str]
) -> None:
    settings.update(QUEUE_TYPE="quorum", WORKER_CONCURRENCY="1", WORKER_PREFETCH="1")
    compose("up", "--detach", "--wait")
    # Over before anything is overdue: the table would be asked for that, and knows no later ones.
    busy = client.simulate(3)
    client.wait_for(busy, "PROCESSING")

    task_ids = {
        priority: [
            client.run("simulate", {"simulate": {"seconds": 0}}, priority=priority)
            for _ in range(4)
        ]
        for priority in ("low", "normal", "high")
    }

    started = sorted(
        (client.wait_for(task_id)["started_at"], priority)
        for priority, ids in task_ids.items()
        for task_id in ids
    )
    assert [priority for _, priority in started] == ["high"] * 4 + ["normal"] * 4 + ["low"] * 4


def test_nothing_is_lost_over_down_and_up(compose: Compose, client: Client) -> None:
    done = client.simulate(0)
    client.wait_for(done)
    compose("stop", "worker_service")
    waiting = [client.simulate(0.1) for _ in range(10)]

    compose("down")
    compose("up", "--detach", "--wait")

    assert client.get(done)["status"] == "COMPLETED"
    assert client.wait_for_all(waiting, seconds=60) == {"COMPLETED": 10}


def test_without_an_env_file_it_says_what_to_do(compose: Compose) -> None:
    ended = subprocess.run(
        ["docker", "compose", "--env-file", os.devnull, "config"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert ended.returncode != 0
    assert "copy .env.example to .env first" in ended.stderr


def test_a_volume_with_another_schema_is_refused_with_a_line(compose: Compose) -> None:
    sql = "ALTER TABLE tasks DROP COLUMN crashes"
    shell = f'MYSQL_PWD="$MYSQL_PASSWORD" mysql -u "$MYSQL_USER" "$MYSQL_DATABASE" -e "{sql}"'
    compose("exec", "-T", "db", "sh", "-c", shell)

    for service in ("api_service", "worker_service"):
        compose("restart", service)

        def refused(service: str = service) -> bool:
            return "table 'tasks' has no column crashes" in compose("logs", service)

        wait_until(refused, 30, f"{service} to refuse the schema")
