"""Lines of answers are written a moment later, and none is lost or given another's words."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient
from structlog.contextvars import bound_contextvars, merge_contextvars

from src.api.answer_log import AnswerLog
from src.config import Settings
from src.main import create_app


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs([merge_contextvars]) as captured:
        yield captured


async def written(lines: list[Any], count: int) -> None:
    async with asyncio.timeout(10):
        while len(lines) < count:
            await asyncio.sleep(0.005)


def test_each_line_has_the_context_and_the_time_of_its_own_request(lines: list[Any]) -> None:
    async def answer() -> None:
        answers = AnswerLog()
        with bound_contextvars(request_id="one", key_name="mine"):
            answers.note({"status": 202})
        with bound_contextvars(request_id="two"):
            answers.note({"status": 404})
        assert lines == []
        await written(lines, 2)

    asyncio.run(answer())

    one, two = lines
    assert (one["request_id"], one["key_name"], one["status"]) == ("one", "mine", 202)
    assert (two["request_id"], two["status"]) == ("two", 404)
    assert "key_name" not in two
    assert one["timestamp"] < two["timestamp"]
    assert {line["event"] for line in lines} == {"answered"}


def test_lines_go_on_after_those_of_a_moment_are_written(lines: list[Any]) -> None:
    async def answer() -> None:
        answers = AnswerLog()
        for count in (1, 2):
            answers.note({"status": 200})
            await written(lines, count)

    asyncio.run(answer())


def test_an_event_loop_that_ended_early_leaves_its_lines_to_the_next(lines: list[Any]) -> None:
    answers = AnswerLog()

    async def answer() -> None:
        answers.note({"status": 200})

    async def answer_and_wait() -> None:
        answers.note({"status": 201})
        await written(lines, 2)

    asyncio.run(answer())
    asyncio.run(answer_and_wait())

    assert [line["status"] for line in lines] == [200, 201]


def test_the_last_lines_are_written_when_the_service_ends(
    settings: Settings, lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.api.answer_log.MOMENT_SECONDS", 3600)
    with TestClient(create_app(settings)) as client:
        client.get("/api/nowhere")
        assert [line for line in lines if line["event"] == "answered"] == []

    [line] = [line for line in lines if line["event"] == "answered"]
    assert (line["path"], line["status"]) == ("/api/nowhere", 404)
