"""Webhooks: written with the final state and never otherwise, signed, sent until they are taken."""

import base64
import time
from collections.abc import Sequence
from typing import Any

import pytest
from conftest import Bench
from receivers import Receiver, answering, receiver, written
from standardwebhooks import Webhook, WebhookVerificationError
from statements import statements_of

from src.config import SettingsError, load_settings
from src.contract import Status
from src.decision import Decision, release
from src.handlers.call import call
from src.handlers.context import Context
from src.handlers.declare import Handler
from src.handlers.webhook import make_webhook
from src.hosts import parse_hosts
from src.outcome import Failure, Outcome, Progress, Success
from src.store.attempts import Fence
from src.store.tables import OUTBOX, TASKS
from src.webhooks import parse_secrets

URL = "http://127.0.0.1:9000/hook"
SECRETS = [f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2)]
COMPLETE = Decision(Status.COMPLETED, result={"a": 1}, wants_webhook=True)
FAIL = Decision(Status.FAILED, ledger="error", error="E", more_errors=1, wants_webhook=True)
AGAIN = Decision(Status.PENDING, ledger="error", error="E", delay_seconds=1, wants_webhook=True)


def webhooks(bench: Bench) -> list[Any]:
    return [row for row in bench.rows(TASKS) if row.type == "webhook"]


def events(bench: Bench) -> list[tuple[str, str]]:
    """Return what is told of which task."""
    found = [row.details["event"] for row in webhooks(bench)]
    return [(event["type"], event["data"]["task_id"]) for event in found]


# --- written with the final state -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "cancelled", "told"),
    [
        (COMPLETE, False, "task.completed"),
        (COMPLETE, True, "task.completed"),
        (FAIL, False, "task.failed"),
        (FAIL, True, "task.cancelled"),
        (AGAIN, False, None),
        (AGAIN, True, "task.cancelled"),
        (release("stopped"), False, None),
        (release("stopped"), True, "task.cancelled"),
    ],
)
def test_the_end_of_a_task_is_told_once_and_nothing_else(
    bench: Bench, decision: Decision, cancelled: bool, told: str | None
) -> None:
    task_id = bench.running(callback_url=URL, cancel_requested=cancelled)
    fence = Fence(task_id, 1)

    bench.tasks.finish({fence: decision})
    bench.tasks.finish({fence: decision})

    assert events(bench) == ([(told, task_id)] if told else [])


def test_a_success_with_progress_is_told_too(bench: Bench) -> None:
    task_id = bench.running(callback_url=URL)
    fence = Fence(task_id, 1)

    bench.tasks.finish({fence: COMPLETE}, {fence: Progress(50, "half")})

    [row] = webhooks(bench)
    assert row.details["event"]["data"]["progress"] == 50


def test_a_stale_attempt_tells_nothing(bench: Bench) -> None:
    task_id = bench.running(callback_url=URL, attempt=2)

    bench.tasks.finish({Fence(task_id, 1): COMPLETE})

    assert webhooks(bench) == []


def test_the_crash_cap_is_told_and_a_rescue_is_not(bench: Bench) -> None:
    dead = bench.register("dead")
    last = bench.running(worker_id=dead, crashes=2, callback_url=URL)
    bench.running(worker_id=dead, crashes=0, callback_url=URL)

    bench.leases.bury(dead, 0)

    assert events(bench) == [("task.failed", last)]


def test_an_orphan_at_the_cap_is_told(bench: Bench) -> None:
    task_id = bench.running(worker_id="nobody", crashes=2, callback_url=URL)

    bench.leases.take_orphans()

    assert events(bench) == [("task.failed", task_id)]


def test_who_asks_for_none_gets_none(bench: Bench) -> None:
    ids = [bench.running() for _ in range(3)]

    bench.tasks.finish({Fence(ids[0], 1): COMPLETE, Fence(ids[1], 1): FAIL})
    bench.tasks.finish({Fence(ids[2], 1): Decision(Status.COMPLETED, result=1)})

    assert webhooks(bench) == []


def test_of_a_batch_those_are_told_that_ask_for_it(bench: Bench) -> None:
    plain, told = bench.running(), bench.running(callback_url=URL)
    decisions = {
        Fence(plain, 1): Decision(Status.COMPLETED, result=1),
        Fence(told, 1): COMPLETE,
    }

    statuses = bench.tasks.finish(decisions)

    assert set(statuses.values()) == {Status.COMPLETED}
    assert bench.task(plain).status == bench.task(told).status == Status.COMPLETED
    assert events(bench) == [("task.completed", told)]


def test_a_webhook_is_a_task_that_is_due_and_promised(bench: Bench) -> None:
    columns = {"priority": 0, "title": "x" * 255, "submitted_by": "shop", "details": {"a": [1]}}
    task_id = bench.running(callback_url=URL, **columns)

    bench.tasks.finish({Fence(task_id, 1): COMPLETE})

    [row], task = webhooks(bench), bench.task(task_id)
    assert (row.status, row.priority, row.attempt) == (Status.PENDING, 0, 0)
    assert row.run_at == task.completed_at
    assert row.callback_url is None
    assert row.submitted_by == "shop"
    assert len(row.title) == 255
    assert row.details["url"] == URL
    assert row.details["event"]["data"]["result"] == {"a": 1}
    assert row.details["event"]["data"]["metadata"] == {"a": [1]}
    assert row.details["event"]["data"]["status"] == "COMPLETED"
    [promise] = bench.rows(OUTBOX)
    assert (promise.task_id, promise.due_at, promise.handed) == (row.id, row.run_at, False)


def test_a_lost_commit_tells_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """State and webhook are one transaction: neither is there without the other."""
    task_id = bench.running(callback_url=URL)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the connection is gone")

    monkeypatch.setattr("src.store.settle.write_webhooks", broken)
    with pytest.raises(RuntimeError):
        bench.tasks.finish({Fence(task_id, 1): COMPLETE})

    assert bench.task(task_id).status == Status.PROCESSING
    assert webhooks(bench) == []


def test_a_claim_knows_who_is_to_be_told(bench: Bench) -> None:
    told, plain = bench.add(callback_url=URL), bench.add()

    claim = bench.tasks.claim(bench.worker_id, [told, plain], take_suspect=False)

    assert {a.fence.task_id: a.wants_webhook for a in claim.attempts} == {told: True, plain: False}


def test_who_asks_for_none_pays_nothing(bench: Bench) -> None:
    done, failed = bench.running(), bench.running()

    with statements_of(bench.engine) as statements:
        bench.tasks.finish({Fence(done, 1): Decision(Status.COMPLETED, result=1)})
    assert [s.split()[0] for s in statements] == ["UPDATE"]
    with statements_of(bench.engine) as statements:
        bench.tasks.finish({Fence(failed, 1): FAIL})
    # The row, the time, the task, the ledger.
    assert [s.split()[0] for s in statements] == ["SELECT", "SELECT", "UPDATE", "INSERT"]


# --- sent -----------------------------------------------------------------------------------------


def details(bench: Bench, url: str = URL) -> dict[str, Any]:
    """Return the payload of a webhook as the store wrote it."""
    task_id = bench.running(callback_url=url, title="Ünï ✓")
    bench.tasks.finish({Fence(task_id, 1): COMPLETE})
    [row] = webhooks(bench)
    found: dict[str, Any] = row.details
    return found


def handler_for(here: Receiver, secrets: Sequence[str] = SECRETS[:1]) -> Handler:
    return make_webhook(
        parse_hosts(f"127.0.0.1:{here.port}"), parse_secrets(",".join(secrets)), (5, 30)
    )


def run(here: Receiver, payload: dict[str, Any], attempt: int = 1, **more: Any) -> Outcome:
    context = Context("id", attempt, "webhook", "t", "d")
    return call(handler_for(here, **more), {**payload, "url": here.url()}, context)


PAYLOAD = {"url": URL, "id": "task-1", "event": {"type": "task.failed", "data": {"x": "é"}}}


def test_what_is_sent_is_verified_by_the_standards_own_library(bench: Bench) -> None:
    payload = details(bench)
    with receiver(answering(written("204 No Content"))) as here:
        outcome = run(here, payload)

    assert outcome == Success({"status": 204})
    said = Webhook(SECRETS[0]).verify(here.body(), here.headers())
    assert said == payload["event"]
    assert said["type"] == "task.completed"
    assert here.headers()["content-type"] == "application/json"
    assert abs(int(here.headers()["webhook-timestamp"]) - time.time()) < 60
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRETS[1]).verify(here.body(), here.headers())
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRETS[0]).verify(here.body() + " ", here.headers())


def test_while_secrets_change_either_one_verifies_it() -> None:
    with receiver(answering(written())) as here:
        run(here, PAYLOAD, secrets=SECRETS)

    for secret in SECRETS:
        assert Webhook(secret).verify(here.body(), here.headers()) == PAYLOAD["event"]


def test_the_id_is_the_same_over_attempts_and_the_time_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receiver(answering(written("500 Oops"))) as here:
        run(here, PAYLOAD, attempt=1)
        first = here.headers()
        later = time.time() + 100
        monkeypatch.setattr("src.handlers.webhook.time.time", lambda: later)
        run(here, PAYLOAD, attempt=2)

    second = here.headers()
    assert first["webhook-id"] == second["webhook-id"] == "task-1"
    assert int(second["webhook-timestamp"]) > int(first["webhook-timestamp"])
    assert Webhook(SECRETS[0]).verify(here.body(), second)


@pytest.mark.parametrize(
    ("status", "permanent"),
    [("410 Gone", True), *[(f"{n} X", False) for n in (301, 302, 400, 401, 404, 429, 500, 503)]],
)
def test_only_410_stops_it(status: str, permanent: bool) -> None:
    with receiver(answering(written(status))) as here:
        outcome = run(here, PAYLOAD)

    assert isinstance(outcome, Failure)
    assert outcome.permanent is permanent


def test_a_busy_receiver_says_when() -> None:
    with receiver(answering(written("503 Busy", b"", "Retry-After: 77"))) as here:
        outcome = run(here, PAYLOAD)

    assert isinstance(outcome, Failure)
    assert outcome.retry_after_seconds == 77


def test_the_rules_for_addresses_hold_here_too() -> None:
    with receiver(answering(written())) as here:
        handler = make_webhook(parse_hosts("*"), parse_secrets(SECRETS[0]), (5,))
        outcome = call(handler, PAYLOAD | {"url": here.url()}, Context("i", 1, "w", "t", "d"))
        inside = call(handler, PAYLOAD | {"url": "http://127.0.0.1/"}, Context("i", 1, "w", "", ""))

    assert isinstance(outcome, Failure)
    assert isinstance(inside, Failure)
    assert outcome.permanent
    assert inside.permanent
    assert here.requests == []


def test_goes_end_after_about_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = load_settings().webhook_retry_seconds
    handler = make_webhook((), (), steps)

    assert handler.max_attempts == len(steps) + 1
    assert 24 * 3600 < sum(steps) * 0.75 < 36 * 3600
    assert handler.timeout_seconds
    assert handler.timeout_seconds < 60


# --- the settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("secret", "expected whsec_ and 24 to 64 random bytes as Base64"),
        ("whsec_secret", "expected whsec_ and 24"),
        ("whsec_" + base64.b64encode(b"secret" * 3).decode(), "expected whsec_ and 24"),
        (",".join([SECRETS[0]] * 3), "expected 1 or 2 secrets, found 3"),
        (SECRETS[0], "webhooks need HTTP_ALLOWED_HOSTS"),
    ],
)
def test_a_bad_secret_stops_the_worker_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value).startswith("WEBHOOK_SECRET: ")
    assert words in str(caught.value)
    assert "secret" not in str(caught.value).split("; for example")[0].replace("1 or 2 secrets", "")
    assert SECRETS[0] not in str(caught.value)


def test_the_secret_is_not_in_the_settings_as_they_print_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", " ".join(SECRETS))
    monkeypatch.setenv("HTTP_ALLOWED_HOSTS", "*")

    settings = load_settings()

    assert settings.webhook_secret == (b"\1" * 32, b"\2" * 32)
    assert "\\x01" not in repr(settings)
