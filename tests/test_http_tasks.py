"""Tasks of the type ``http`` through the whole system."""

from typing import Any

import pytest

from tests.client import Client
from tests.conftest import System
from tests.local.servers import wait_until
from tests.receiver import Receiver, receiver

SECRET = "s3cr3t-of-the-shop"


def start(system: System, allowed: str) -> None:
    system.stack.start_worker(
        HTTP_ALLOWED_HOSTS=allowed, HTTP_SECRET_SHOP=SECRET, LOG_LEVEL="DEBUG"
    )
    wait_until(lambda: "http" in system.tables.types(), 20, "the type to be known")


def finished(client: Client, here: Receiver, **call: Any) -> dict[str, Any]:
    return client.wait_for(client.run("http", {"url": here.url(), **call}))


def test_a_task_calls_a_service_and_keeps_its_answer_but_no_secret(system: System) -> None:
    with receiver() as here:
        start(system, here.host)
        headers = {"Authorization": "Bearer ${secret:SHOP}"}
        url = here.url("/orders?token=t0p")
        task = finished(system.client, here, url=url, headers=headers, body={"order": 7})

    [received] = here.received
    assert task["status"] == "COMPLETED"
    assert task["result"] == {"status": 200, "body": '{"order": 7}', "truncated": False}
    assert received.headers["authorization"] == f"Bearer {SECRET}"
    assert received.headers["idempotency-key"] == task["task_id"]
    assert SECRET not in str(system.tables.rows("SELECT * FROM tasks"))
    # Neither the secret nor the URL, which may hold another one.
    logs = "".join(service.output() for service in system.stack.services)
    assert SECRET not in logs
    assert "token=t0p" not in logs


def test_a_busy_service_gets_the_same_call_again_when_it_says(system: System) -> None:
    with receiver() as here:
        here.answer = lambda _: (
            (503, {"Retry-After": "1"}) if len(here.received) == 1 else (200, {})
        )
        start(system, here.host)
        task = finished(system.client, here)

    first, second = (received.headers for received in here.received)
    assert (task["status"], task["attempt"], task["errors"]) == ("COMPLETED", 2, 1)
    assert (first["x-task-attempt"], second["x-task-attempt"]) == ("1", "2")
    assert first["idempotency-key"] == second["idempotency-key"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1/", "leads to an address that is not public"),
        ("http://2130706433/", "leads to an address that is not public"),
        ("http://[::ffff:169.254.169.254]/latest/", "leads to an address that is not public"),
        ("http://localhost:6379/", "localhost:6379 is not in HTTP_ALLOWED_HOSTS"),
        ("http://user:pass@example.com/", "must not hold a user or password"),
    ],
)
def test_what_must_not_be_called_fails_at_once_and_says_why(
    system: System, url: str, words: str
) -> None:
    start(system, "*")

    task = system.client.wait_for(system.client.run("http", {"url": url}))

    assert (task["status"], task["attempt"]) == ("FAILED", 1)
    assert words in task["error"]


def test_a_redirect_into_the_inside_is_not_followed(system: System) -> None:
    with receiver() as inside, receiver() as here:
        here.answer = lambda _: (302, {"Location": inside.url()})
        start(system, f"{here.host},{inside.host}")
        task = finished(system.client, here)

    assert task["status"] == "FAILED"
    assert "redirects are not followed" in task["error"]
    assert inside.received == []


def test_a_wrong_call_is_refused_before_it_is_stored(system: System) -> None:
    start(system, "*")

    wrong = {"url": "ftp://a.example/", "method": "TRACE", "headers": {"X": "a\r\nb"}, "bdy": 1}
    answer = system.client.post(type="http", metadata=wrong)

    assert answer.status_code == 400
    fields = {error["field"] for error in answer.json()["errors"]}
    assert {"metadata.url", "metadata.method", "metadata.headers.X"} <= fields
    assert "bdy" in answer.text


def test_without_hosts_the_type_does_not_exist(system: System) -> None:
    system.stack.start_worker()
    wait_until(lambda: "simulate" in system.tables.types(), 20, "the worker to register")

    answer = system.client.post(type="http", metadata={"url": "http://a.example/"})

    assert answer.status_code == 400
    assert "unknown type" in answer.json()["errors"][0]["message"]
