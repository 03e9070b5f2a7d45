"""A plain submission that goes around the framework is answered as the framework answers it."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

PLAIN = {"title": "A report", "description": "Collect the figures"}

BODIES: list[tuple[str, bytes]] = [
    ("plain", json.dumps(PLAIN).encode()),
    ("all it knows", json.dumps({**PLAIN, "priority": "high", "delay_seconds": 5}).encode()),
    ("details", json.dumps({**PLAIN, "metadata": {"a": [1, 2.5, None, "\u00e9"]}}).encode()),
    ("wide", json.dumps({**PLAIN, "title": "\U0001f600" * 255}, ensure_ascii=False).encode()),
    ("spaces around", b"  " + json.dumps(PLAIN).encode() + b"\n"),
    ("a key twice", b'{"title": "a", "title": "b", "description": "c"}'),
    ("no title", b'{"description": "c"}'),
    ("blank", json.dumps({**PLAIN, "description": "  "}).encode()),
    ("another kind", json.dumps({**PLAIN, "title": 7}).encode()),
    ("an unknown type", json.dumps({**PLAIN, "type": "nobody.serves"}).encode()),
    ("a surrogate", b'{"title": "\\ud800", "description": "c"}'),
    ("NaN", b'{"title": "a", "description": "c", "metadata": {"x": NaN}}'),
    ("deep", b'{"title": "a", "description": "c", "metadata": ' + b'{"a":' * 30 + b"1" + b"}" * 31),
    ("no JSON", b"{"),
    ("no object", b"[]"),
    ("empty", b""),
    ("no UTF-8", b'{"title": "\xff", "description": "c"}'),
]


@pytest.mark.parametrize("body", [body for _, body in BODIES], ids=[name for name, _ in BODIES])
def test_both_ways_answer_alike(client: TestClient, body: bytes) -> None:
    short, long = (
        client.post("/api/tasks" + query, content=body, headers={"Content-Type": kind})
        for query, kind in [("", "application/json"), ("", "application/json; charset=utf-8")]
    )

    assert short.status_code == long.status_code
    assert comparable(short) == comparable(long)
    if short.status_code == 202:
        stored = [client.get(answer.headers["location"]).json() for answer in (short, long)]
        assert without(stored[0], OF_EACH) == without(stored[1], OF_EACH)


#: What differs between two tasks and two requests.
OF_EACH = {"task_id", "request_id", "instance", "location", "x-request-id", "content-length"} | {
    "created_at",
    "updated_at",
    "run_at",
}


def comparable(answer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return without(answer.headers, OF_EACH), without(answer.json(), OF_EACH)


def without(fields: Any, names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/tasks?wait=0", {}),
        ("/api/tasks", {"Prefer": "wait=0"}),
        ("/api/tasks", {"Idempotency-Key": "order-7"}),
    ],
)
def test_who_asks_for_more_gets_it(client: TestClient, path: str, headers: dict[str, str]) -> None:
    answers = [client.post(path, json=PLAIN, headers=headers) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    repeated = "Idempotency-Key" in headers
    assert (answers[0].json() == answers[1].json()) == repeated


def test_an_option_that_cannot_be_read_is_refused(client: TestClient) -> None:
    assert client.post("/api/tasks?wait=soon", json=PLAIN).status_code == 400


def test_other_methods_and_paths_are_the_frameworks(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    body = json.dumps(PLAIN).encode()

    assert client.request("PUT", "/api/tasks", content=body, headers=headers).status_code == 405
    assert client.post("/api/tasks/", content=body, headers=headers).status_code in {307, 404}
    assert client.post("/api/nothing", content=body, headers=headers).status_code == 404
