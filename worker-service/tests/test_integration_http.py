"""Calls of the type ``http`` to real receivers: what they get, and what they cannot do to us."""

import gzip
import json
import queue
import re
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from conftest import make_executor
from receivers import (
    Receiver,
    answering,
    certificate,
    read_request,
    receiver,
    repeating,
    silent,
    written,
)

from src.consumers import Claimed
from src.decision import Counts
from src.execution import Finished
from src.handlers import outgoing
from src.handlers.call import call
from src.handlers.context import Context
from src.handlers.declare import Handler
from src.handlers.http import Call, make_http
from src.handlers.outgoing import KEPT_BYTES, READ_BYTES, retry_after_seconds
from src.hosts import parse_hosts
from src.outcome import Failure, Outcome, Success, TimedOut
from src.store.attempts import Attempt, Fence

TASK_ID = "01931f6e-8a37-7c31-b1f5-3f0c2a9d7e10"
SECRET = "s3cr3t-of-the-shop"


def context(attempt: int = 1) -> Context:
    return Context(TASK_ID, attempt, "http", "t", "d")


def handler_for(here: Receiver, name: str = "127.0.0.1", *addresses: str) -> Handler:
    """Make a handler that may call this receiver, perhaps by a name that leads to addresses."""

    async def resolve(host: str, _port: int) -> Sequence[str]:
        return addresses or [host]

    return make_http(parse_hosts(f"{name}:{here.port}"), {"SHOP": SECRET}, resolve)


def run(here: Receiver, url: str = "", attempt: int = 1, **details: Any) -> Outcome:
    return call(handler_for(here), {"url": url or here.url(), **details}, context(attempt))


def error_of(outcome: Outcome) -> Failure:
    assert isinstance(outcome, Failure), outcome
    return outcome


# --- what the receiver gets -----------------------------------------------------------------------


def test_a_call_tells_which_task_it_is_and_brings_back_the_answer() -> None:
    with receiver(answering(written("201 Created", b'{"id": 7}'))) as here:
        outcome = run(here, here.url("/a/b?c=d"), body={"x": [1, "é"]}, headers={"X-Own": "y"})

    assert outcome == Success({"status": 201, "body": '{"id": 7}', "truncated": False})
    headers = here.headers()
    assert here.requests[0].startswith("POST /a/b?c=d HTTP/1.1\r\n")
    assert json.loads(here.body()) == {"x": [1, "é"]}
    assert headers["host"] == f"127.0.0.1:{here.port}"
    assert headers["content-type"] == "application/json"
    assert (headers["idempotency-key"], headers["x-task-attempt"]) == (TASK_ID, "1")
    assert headers["x-own"] == "y"
    assert re.fullmatch(rf"00-{TASK_ID.replace('-', '')}-[0-9a-f]{{16}}-01", headers["traceparent"])


def test_attempts_differ_in_number_and_share_key_and_trace() -> None:
    with receiver(answering(written())) as here:
        run(here, attempt=1)
        first = here.headers()
        run(here, attempt=2)

    second = here.headers()
    assert (first["x-task-attempt"], second["x-task-attempt"]) == ("1", "2")
    assert first["idempotency-key"] == second["idempotency-key"]
    assert first["traceparent"][:36] == second["traceparent"][:36]
    assert first["traceparent"] != second["traceparent"]


def test_without_a_body_none_is_sent() -> None:
    with receiver(answering(written("204 No Content"))) as here:
        outcome = run(here, method="GET")

    assert outcome == Success({"status": 204, "body": "", "truncated": False})
    assert here.requests[0].startswith("GET /hook ")
    assert "content-type" not in here.headers()


def test_settings_of_a_proxy_are_not_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(answering(written())) as proxy, receiver(answering(written())) as here:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(""))
        outcome = run(here)

    assert isinstance(outcome, Success)
    assert len(here.requests) == 1
    assert proxy.requests == []


@pytest.mark.parametrize(
    "details",
    [
        {"url": "ftp://a.example/"},
        {"url": "http://a.example/a b"},
        {"url": "http://a.example/\r\nX: y"},
        {"url": "http://a.example/", "method": "TRACE"},
        {"url": "http://a.example/", "headers": {"Host": "b.example"}},
        {"url": "http://a.example/", "headers": {"content-length": "1"}},
        {"url": "http://a.example/", "headers": {"Idempotency-Key": "mine"}},
        {"url": "http://a.example/", "headers": {"X Y": "1"}},
        {"url": "http://a.example/", "headers": {"X": "1\r\nY: 2"}},
        {"url": "http://a.example/", "headers": {"X": "é"}},
        {"url": "http://a.example/", "header": {}},
        {},
    ],
)
def test_a_payload_that_is_no_call_is_refused(details: dict[str, Any]) -> None:
    with receiver(answering(written())) as here:
        outcome = call(handler_for(here), details, context())

    assert error_of(outcome).permanent
    assert error_of(outcome).error.startswith("the payload does not fit")


def test_the_schema_refuses_most_of_it_before_it_is_stored() -> None:
    text = json.dumps(Call.model_json_schema())

    assert all(word in text for word in ("maxLength", "additionalProperties", "pattern", "enum"))


# --- what becomes of the task ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        *[(f"{code} Some Words", True) for code in (400, 401, 404, 409, 410, 418, 422, 499)],
        *[(f"{code} Some Words", True) for code in (300, 301, 302, 303, 304, 307, 308)],
        *[(f"{code} Some Words", False) for code in (429, 500, 502, 503, 504, 599)],
    ],
)
def test_statuses_decide_whether_it_is_tried_again(status: str, permanent: bool) -> None:
    with receiver(answering(written(status, b""))) as here:
        failure = error_of(run(here))

    assert failure.permanent is permanent
    assert f"the receiver answered {status[:3]}" in failure.error
    assert failure.retry_after_seconds is None


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_who_says_when_to_come_again_is_heeded(status: str) -> None:
    with receiver(answering(written(status, b"busy", "Retry-After: 120"))) as here:
        failure = error_of(run(here))

    assert failure.retry_after_seconds == 120
    assert not failure.permanent
    assert failure.error.endswith(f"answered {status}: busy")


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    date = format_datetime(now + timedelta(seconds=90), usegmt=True)
    values = ["7", date, "soon", "-1", "", "9" * 30, format_datetime(now - timedelta(days=1))]

    found = [retry_after_seconds(httpx2.Headers({"Retry-After": v}), now) for v in values]

    assert found == [7, 90, None, None, None, None, 0]


@pytest.mark.parametrize(
    "date", [f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT", f"Mon, 01 Jan 2030 00:00:00 +{'9' * 20}"]
)
def test_a_retry_after_beyond_all_times_is_none(date: str) -> None:
    with receiver(answering(written("503 Busy", b"busy", f"Retry-After: {date}"))) as here:
        failure = error_of(run(here))

    assert failure.retry_after_seconds is None
    assert failure.error.endswith("answered 503 Service Unavailable: busy")


def test_a_redirect_is_not_followed() -> None:
    with receiver(answering(written())) as inside:
        location = f"Location: {inside.url('/secret')}"
        with receiver(answering(written("302 Found", b"", location))) as here:
            failure = error_of(run(here))

    assert failure.permanent
    assert "redirects are not followed" in failure.error
    assert inside.requests == []


def test_nobody_there_is_an_error_to_try_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        here = Receiver("127.0.0.1", gone.getsockname()[1])

    failure = error_of(run(here))

    assert not failure.permanent
    assert failure.error == "RequestFailed: no connection: it was refused, or nobody is there"


def test_silence_is_an_error_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "SILENT_SECONDS", 0.2)
    with receiver(silent) as here:
        failure = error_of(run(here))

    assert not failure.permanent
    assert failure.error == "RequestFailed: the receiver was silent for 0.2 s"


def test_a_host_that_takes_no_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "CONNECT_SECONDS", 0.5)
    waiting = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        here = Receiver("127.0.0.1", full.getsockname()[1])
        # What nobody accepts fills the queue; the system answers no further one.
        for _ in range(3):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex((here.host, here.port))
        failure = error_of(run(here))
        for one in waiting:
            one.close()

    assert not failure.permanent
    assert failure.error == "RequestFailed: no connection within 0.5 s"


# --- secrets --------------------------------------------------------------------------------------


def bearer() -> dict[str, str]:
    return {"Authorization": "Bearer ${secret:shop}"}


def echo(status: str) -> Any:
    """Answer with what was sent, as receivers do that help to debug."""

    def behave(connection: socket.socket, here: Receiver) -> None:
        connection.sendall(written(status, read_request(connection, here).encode()))

    return behave


def test_a_reference_becomes_the_secret_for_the_receiver_alone() -> None:
    with receiver(echo("200 OK")) as here:
        outcome = run(here, headers=bearer())

    assert here.headers()["authorization"] == f"Bearer {SECRET}"
    assert isinstance(outcome, Success)
    assert "Bearer ***" in outcome.result["body"]
    assert SECRET not in str(outcome)


def test_a_secret_is_in_no_error() -> None:
    with receiver(echo("400 Bad Request")) as here:
        failure = error_of(run(here, headers=bearer()))

    assert "***" in failure.error
    assert SECRET not in failure.error + failure.traceback


@pytest.mark.parametrize("repeated", [r"pa\"ss/w=rd", r"pa\"ss\/w=rd", "pa%22ss%2Fw%3Drd"])
def test_a_secret_is_not_shown_as_json_or_urls_spell_it(repeated: str) -> None:
    with receiver(answering(written("200 OK", f"you sent {repeated}!".encode()))) as here:
        handler = make_http(parse_hosts(f"127.0.0.1:{here.port}"), {"SHOP": 'pa"ss/w=rd'})
        outcome = call(handler, {"url": here.url(), "headers": bearer()}, context())

    assert isinstance(outcome, Success)
    assert outcome.result["body"] == "you sent ***!"


def test_a_secret_that_is_cut_in_two_is_not_shown_either() -> None:
    body = (SECRET * 1000).encode()
    with receiver(answering(written("200 OK", body))) as here:
        outcome = run(here, headers=bearer())

    assert isinstance(outcome, Success)
    assert outcome.result["truncated"]
    assert set(outcome.result["body"]) == {"*"}


@pytest.mark.parametrize("name", ["NOPE", "MY-SHOP", " SHOP", ""])
def test_an_unknown_secret_is_named(name: str) -> None:
    with receiver(answering(written())) as here:
        failure = error_of(run(here, headers={"X": f"${{secret:{name}}}"}))

    assert failure.permanent
    assert failure.error == f"Permanent: the worker has no HTTP_SECRET_{name}"
    assert here.requests == []


@pytest.mark.parametrize(
    ("allowed", "url", "words"),
    [
        ("*", "https://evil.example/", "names in full"),
        ("*.shop.example", "https://a.shop.example/", "names in full"),
        ("shop.example", "http://shop.example/", "by https only"),
    ],
)
def test_secrets_do_not_go_everywhere(allowed: str, url: str, words: str) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["93.184.216.34"]

    handler = make_http(parse_hosts(allowed), {"SHOP": SECRET}, resolve)

    failure = error_of(call(handler, {"url": url, "headers": bearer()}, context()))

    assert failure.permanent
    assert words in failure.error


# --- where the connection goes --------------------------------------------------------------------


def test_the_connection_goes_to_the_address_that_was_judged() -> None:
    """A name that led there a moment ago leads elsewhere now: it is not looked up again."""
    answers = [["127.0.0.2"], ["127.0.0.3"], ["127.0.0.3"]]

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return answers.pop(0)

    with receiver(answering(written()), "127.0.0.2") as judged:
        handler = make_http(parse_hosts(f"localhost:{judged.port}"), {}, resolve)
        outcome = call(handler, {"url": judged.url(host="localhost")}, context())

    assert isinstance(outcome, Success)
    assert judged.headers()["host"] == f"localhost:{judged.port}"
    assert len(answers) == 2


def test_another_address_is_tried_where_nobody_is_at_the_first() -> None:
    with receiver(answering(written()), "127.0.0.2") as here:
        handler = handler_for(here, "two.example", "127.0.0.3", "127.0.0.2")
        outcome = call(handler, {"url": here.url(host="two.example")}, context())

    assert isinstance(outcome, Success)


def test_a_private_address_is_refused_without_a_connection() -> None:
    with receiver(answering(written())) as here:
        handler = make_http(parse_hosts(f"*:{here.port}"), {})
        failure = error_of(call(handler, {"url": here.url()}, context()))

    assert failure.permanent
    assert "not public" in failure.error
    assert here.requests == []


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """A receiver's side of TLS for shop.test, whom we trust."""
    file = certificate(tmp_path, "shop.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    outgoing._trust.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    yield context
    outgoing._trust.cache_clear()


def over_tls(here: Receiver, name: str) -> Outcome:
    url = f"https://{name}:{here.port}/"
    return call(handler_for(here, name, "127.0.0.1"), {"url": url}, context())


def test_the_certificate_must_be_the_names(trusted: ssl.SSLContext) -> None:
    with receiver(answering(written()), tls=trusted) as here:
        good, other = over_tls(here, "shop.test"), over_tls(here, "other.test")

    assert isinstance(good, Success)
    assert "TLS failed: Hostname mismatch" in error_of(other).error
    assert not error_of(other).permanent
    assert len(here.requests) == 1


def test_a_certificate_of_nobodys_is_refused(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path, "shop.test"))

    with receiver(answering(written()), tls=context) as here:
        failure = error_of(over_tls(here, "shop.test"))

    assert failure.error == "RequestFailed: TLS failed: self-signed certificate"
    assert here.requests == []


def test_what_speaks_no_tls_is_an_error_that_says_so() -> None:
    def babble(connection: socket.socket, _here: Receiver) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 no TLS here\r\n\r\n")

    with receiver(babble) as here:
        failure = error_of(over_tls(here, "shop.test"))

    assert "TLS failed" in failure.error


# --- receivers that go on and on ------------------------------------------------------------------

OK_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK_HUGE = b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n"
CHUNK = b"10000\r\n" + b"x" * 65_536 + b"\r\n"


@pytest.mark.parametrize(
    ("start", "piece"),
    [(OK_HUGE, b"x" * 65_536), (OK_CHUNKED, CHUNK), (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536)],
    ids=["10 GB", "endless chunks", "until it closes"],
)
def test_of_a_huge_answer_the_beginning_is_read(start: bytes, piece: bytes) -> None:
    sent: list[int] = []

    def next_piece() -> bytes:
        sent.append(len(piece))
        return piece

    with receiver(repeating(start, next_piece)) as here:
        outcome = run(here)
        assert here.left.wait(10), "the connection was kept"

    assert isinstance(outcome, Success)
    assert outcome.result["truncated"]
    assert len(outcome.result["body"]) == KEPT_BYTES
    # What the sockets hold comes on top.
    assert sum(sent) < READ_BYTES + 32 * 1024 * 1024


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 5_000_000)
    answer = written("200 OK", bomb, "Content-Encoding: gzip", "Content-Type: application/json")

    with receiver(answering(answer)) as here:
        outcome = run(here)

    assert here.headers()["accept-encoding"] == "identity"
    assert len(bomb) < KEPT_BYTES
    assert outcome == Success({"status": 200, "body": "", "truncated": False})


def test_any_bytes_make_a_result_that_can_be_kept() -> None:
    with receiver(answering(written("200 OK", bytes(range(256)) * 100))) as here:
        outcome = run(here)

    assert isinstance(outcome, Success)
    assert outcome.result["truncated"]


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"HTTP/1.1", b"SSH-2.0-OpenSSH_9\r\n"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "half a line", "no HTTP", "broken off", "a huge header"],
)
def test_an_answer_that_is_none_is_an_error_to_try_again(answer: bytes) -> None:
    with receiver(answering(answer)) as here:
        failure = error_of(run(here))

    assert not failure.permanent
    assert failure.error == "RequestFailed: the receiver broke off, or its answer is not HTTP"


SLOW = {
    "silence": silent,
    "a head that drips": repeating(b"HTTP/1.1 200 OK\r\n", lambda: b"X: y\r\n", 0.05),
    "a body that drips": repeating(OK_CHUNKED, lambda: b"1\r\nx\r\n", 0.05),
    "answers that say wait": repeating(b"", lambda: b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("name", SLOW)
def test_the_time_limit_ends_it_and_frees_the_slot(name: str) -> None:
    ended: queue.SimpleQueue[Finished] = queue.SimpleQueue()
    with receiver(SLOW[name]) as here:
        executor = make_executor(handler_for(here), concurrency=1, finished=ended.put)
        executor.start_threads()
        for number in (1, 2):
            executor.start(claimed({"url": here.url()}, number))
            assert isinstance(ended.get(timeout=20).outcome, TimedOut)
            deadline = time.monotonic() + 20
            while executor.free_slots() < 1:
                assert time.monotonic() < deadline, "the slot is still taken"
                time.sleep(0.01)
        assert here.left.wait(10), "the connection was kept"


def claimed(details: Any, number: int) -> Claimed:
    attempt = Attempt(Fence(TASK_ID, number), "http", "t", "d", details, Counts(0, 0), 1)
    return Claimed(attempt, None)
