"""Webhooks through the whole system, whoever dies on the way, and the receivers of the docs."""

import base64
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from tests.client import FINAL
from tests.conftest import HANDLERS, System
from tests.local.servers import HOST, free_port, wait_until
from tests.local.services import ROOT, Service
from tests.receiver import Received, Receiver, receiver

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef" * 2).decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"fedcba9876543210" * 2).decode()
#: How many tasks go through the storm; 1000 by hand.
STORM = int(os.environ.get("WEBHOOKS_IN_STORM", "100"))


def start(system: System, here: Receiver, **settings: str) -> Service:
    """Start the API and a worker with webhooks for this receiver."""
    [api] = system.stack.services
    api.stop()
    system.stack.start_api(WEBHOOK_SECRET=SECRET)
    return start_worker(system, here, **settings)


def start_worker(system: System, here: Receiver, **settings: str) -> Service:
    defaults = {"WEBHOOK_RETRY_SECONDS": ",".join(["0.5"] * 100), **HANDLERS}
    worker = system.stack.start_worker(
        WEBHOOK_SECRET=SECRET, HTTP_ALLOWED_HOSTS=here.host, **(defaults | settings)
    )
    wait_until(lambda: "webhook" in system.tables.types(), 20, "the type to be known")
    return worker


def verified(received: Received, secret: str = SECRET) -> Any:
    """Return the event, if it is signed; the package of the standard says so."""
    return Webhook(secret).verify(received.body, dict(received.headers))


def told(here: Receiver) -> dict[str, Any]:
    """Return what was told, by task; the latest."""
    events = [verified(received) for received in list(here.received)]
    return {event["data"]["task_id"]: event for event in events}


def test_the_end_of_a_task_is_told_as_get_shows_it(system: System) -> None:
    with receiver() as here:
        start(system, here)
        url = here.url("/hooks?shop=7")
        fields = {
            "callback_url": url,
            "metadata": {"simulate": {"seconds": 0}, "é": [1, None, 2.5]},
        }
        task_id = system.client.post(**fields).json()["task_id"]
        task = system.client.wait_for(task_id)
        wait_until(lambda: bool(here.received), 20, "the webhook")

    [received] = here.received
    event = verified(received)
    assert received.path == "/hooks?shop=7"
    assert event["type"] == "task.completed"
    assert event["data"] == system.client.get(task_id) == task
    [sent] = system.client.look("tasks", type="webhook")["tasks"]
    assert system.client.wait_for(sent["task_id"])["result"] == {"status": 200}
    assert [t["task_id"] for t in system.client.look("tasks")["tasks"]] == [task_id]
    assert all(SECRET not in service.output() for service in system.stack.services)


@pytest.mark.parametrize("kind", ["failed", "permanent", "cancelled", "bulk", "running"])
def test_every_end_is_told(system: System, kind: str) -> None:
    with receiver() as here:
        start(system, here)
        simulate = {
            "failed": {"seconds": 0, "fail_attempts": 9},
            "permanent": {"seconds": 0, "fail_attempts": 9},
        }.get(kind, {"seconds": 60})
        fields: dict[str, Any] = {"metadata": {"simulate": simulate}, "callback_url": here.url()}
        if kind in ("cancelled", "bulk"):
            fields["delay_seconds"] = 600
        if kind == "permanent":
            fields["max_attempts"] = 1
        task_id = system.client.post(**fields).json()["task_id"]
        if kind == "running":
            system.client.wait_for(task_id, "PROCESSING")
        if kind in ("cancelled", "running"):
            system.client.cancel(task_id)
        if kind == "bulk":
            system.client.act(action="cancel", task_ids=[task_id])
        task = system.client.wait_for(task_id)
        wait_until(lambda: task_id in told(here), 30, "the webhook")

    event = told(here)[task_id]
    assert event["type"] == f"task.{task['status'].lower()}"
    assert event["data"] == task


def test_a_task_that_kills_its_workers_is_told_at_the_cap(system: System) -> None:
    with receiver() as here:
        start(system, here, LEASE_SECONDS="1")
        metadata = {"simulate": {"seconds": 60}}
        task_id = system.client.post(metadata=metadata, callback_url=here.url()).json()["task_id"]
        for attempt in (1, 2, 3):
            system.work_log.wait_for_start(task_id, attempt)
            system.stack.services[-1].kill()
            start_worker(system, here, LEASE_SECONDS="1")
        task = system.client.wait_for(task_id)
        wait_until(lambda: task_id in told(here), 30, "the webhook")

    assert (task["status"], task["crashes"]) == ("FAILED", 3)
    assert told(here)[task_id]["data"] == task


def test_a_receiver_that_is_down_gets_it_later_under_the_same_id(system: System) -> None:
    with receiver(lambda _: (500, {})) as here:
        start(system, here)
        task_id = system.client.post(callback_url=here.url()).json()["task_id"]
        wait_until(lambda: len(here.received) >= 2, 30, "two goes")
        here.answer = lambda _: (200, {})
        wait_until(
            lambda: system.client.look("tasks", type="webhook", status="COMPLETED")["tasks"] != [],
            30,
            "it to be taken",
        )
        again = system.client.request("POST", f"/api/tasks/{task_id}/webhook").json()["task_id"]
        system.client.wait_for(again)

    assert len({received.headers["webhook-id"] for received in here.received}) == 1
    assert len({received.body for received in here.received}) == 1
    assert told(here).keys() == {task_id}


def test_gone_stops_it(system: System) -> None:
    with receiver(lambda _: (410, {})) as here:
        start(system, here)
        system.client.post(callback_url=here.url())
        wait_until(
            lambda: system.client.look("tasks", type="webhook", status="FAILED")["tasks"] != [],
            30,
            "it to be given up",
        )

    [task] = system.client.look("tasks", type="webhook")["tasks"]
    assert "410 Gone" in task["error"]
    assert len(here.received) == 1


# --- the storm ------------------------------------------------------------------------------------


class Restless:
    """A receiver that is taken away now and then, in the middle of whatever it does."""

    def __init__(self, chance: random.Random) -> None:
        self.port = free_port()
        self.host = f"{HOST}:{self.port}"
        self.received: list[Received] = []
        self._chance = chance

    def answer(self, received: Received) -> tuple[int, dict[str, str]]:
        """Take it, or take it and say that it was not."""
        self.received.append(received)
        return (200, {}) if self._chance.random() < 0.8 else (500, {})

    @contextmanager
    def open(self) -> Iterator[None]:
        with receiver(self.answer, self.port):
            yield


def test_each_end_is_told_whoever_is_killed_on_the_way(system: System) -> None:
    chance = random.Random(7)
    restless = Restless(chance)
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            with restless.open():
                over.wait(chance.uniform(0.5, 2))
            over.wait(0 if over.is_set() else chance.uniform(0.2, 1))

    here = Receiver(restless.port, restless.answer)
    worker = start(system, here, LEASE_SECONDS="1", FALLBACK_SECONDS="1")
    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        ids = submit_many(system, here)
        for _ in range(10 + STORM // 10):
            if all_told(system, ids):
                break
            # A machine may take longer to start a worker than this one is left to live.
            wait_until(partial(_has_registered, worker), 30, "the worker to register")
            time.sleep(chance.uniform(1, 3))
            worker.kill()
            worker = start_worker(system, here, LEASE_SECONDS="1", FALLBACK_SECONDS="1")
        wait_until(lambda: all_told(system, ids), 60 + STORM, f"{len(ids)} ends to be told")
    finally:
        over.set()
        thread.join(10)

    told_ids: dict[str, set[str]] = {}
    for received in restless.received:
        event = verified(received)
        told_ids.setdefault(event["data"]["task_id"], set()).add(received.headers["webhook-id"])
        assert event["type"] == f"task.{event['data']['status'].lower()}"
    assert told_ids.keys() == set(ids)
    assert all(len(of_one) == 1 for of_one in told_ids.values())
    rows = system.tables.rows("SELECT id, status FROM tasks WHERE type = 'simulate'")
    assert Counter(row["status"] for row in rows).keys() <= FINAL
    states = {e["data"]["task_id"]: e["data"]["status"] for e in map(verified, restless.received)}
    assert {row["id"]: row["status"] for row in rows} == states


def _has_registered(worker: Service) -> bool:
    return "registered" in worker.output()


def submit_many(system: System, here: Receiver) -> list[str]:
    """Submit tasks that complete, fail, and are cancelled, one by one and together."""
    plans: list[dict[str, Any]] = [
        {"metadata": {"simulate": {"seconds": 0.01}}},
        {"metadata": {"simulate": {"seconds": 0, "fail_attempts": 9}}, "max_attempts": 1},
        {"delay_seconds": 600},
        {"metadata": {"simulate": {"seconds": 0, "fail_attempts": 1}}},
    ]
    ids: list[str] = []
    for begin in range(0, STORM, 100):
        tasks = [
            {"title": "t", "description": "d", "callback_url": here.url(), **plans[n % len(plans)]}
            for n in range(begin, min(begin + 100, STORM))
        ]
        ids += system.client.submit_batch(tasks)
    waiting = [task_id for n, task_id in enumerate(ids) if n % len(plans) == 2]
    for task_id in waiting[::2]:
        assert system.client.cancel(task_id).status_code == 200
    if waiting[1::2]:
        system.client.act(action="cancel", task_ids=waiting[1::2])
    return ids


def all_told(system: System, ids: list[str]) -> bool:
    """Tell whether every task's end was taken: its webhook is COMPLETED."""
    rows = system.tables.rows("SELECT status FROM tasks WHERE type = 'webhook'")
    return len(rows) >= len(ids) and {row["status"] for row in rows} == {"COMPLETED"}


# --- the receivers of the documentation -----------------------------------------------------------

#: By the name that their blocks have in the text: what runs them. Where there is no Node.js, ./dev
#: test says that it left it out.
EXAMPLES = {"python": sys.executable} | (
    {"javascript": "node"} if os.environ.get("TEST_NODE") else {}
)


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Run a receiver as it stands in the documentation; return its address."""
    language: str = request.param
    text = (ROOT / "docs/webhooks.md").read_text()
    [code] = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    port = free_port()
    file = tmp_path / {"python": "receiver.py", "javascript": "receiver.mjs"}[language]
    file.write_text(code)
    process = subprocess.Popen(
        [EXAMPLES[language], file],
        env={**os.environ, "WEBHOOK_SECRET": SECRET, "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_until(lambda: answers(url), 20, "the receiver to answer")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)


def answers(url: str) -> bool:
    try:
        return httpx2.post(url, content=b"", timeout=2).status_code == 400
    except httpx2.HTTPError:
        return False


def signed(
    body: str, secret: str = SECRET, message_id: str = "task-1", age_seconds: int = 0
) -> dict[str, str]:
    """Sign as the package of the standard does."""
    from datetime import UTC, datetime, timedelta

    at = datetime.now(UTC) - timedelta(seconds=age_seconds)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body),
    }


def test_a_documented_receiver_takes_what_is_signed_and_nothing_else(example: str) -> None:
    body = json.dumps({"type": "task.completed", "data": {"task_id": "x", "title": "Ünï ✓"}})

    def status(headers: dict[str, str], content: str = body) -> int:
        return httpx2.post(example, content=content.encode(), headers=headers).status_code

    good = signed(body)
    both = signed(body, OLD_SECRET)["webhook-signature"] + " " + good["webhook-signature"]
    assert status(good) == 204
    assert status({**good, "webhook-signature": both}) == 204
    assert status(good, body + " ") == 400
    assert status(signed(body, OLD_SECRET)) == 400
    assert status({**good, "webhook-id": "task-2"}) == 400
    assert status({**good, "webhook-signature": "v1,"}) == 400
    assert status({**good, "webhook-signature": "v2," + good["webhook-signature"][3:]}) == 400
    assert status(signed(body, age_seconds=400)) == 400
    assert status(signed(body, age_seconds=-400)) == 400
    assert status({**good, "webhook-timestamp": "soon"}) == 400
    assert status({}) == 400


def test_a_documented_receiver_takes_what_the_system_sends(system: System, example: str) -> None:
    here = Receiver(int(example.rstrip("/").rpartition(":")[2]), lambda _: (200, {}))
    start(system, here)

    system.client.post(callback_url=example, title="Ünï ✓", metadata={"simulate": {"seconds": 0}})

    wait_until(
        lambda: system.client.look("tasks", type="webhook", status="COMPLETED")["tasks"] != [],
        30,
        "it to be taken",
    )
    [task] = system.client.look("tasks", type="webhook")["tasks"]
    assert system.client.get(task["task_id"])["result"] == {"status": 204}
