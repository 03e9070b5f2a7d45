"""Lines of the log: none is lost, none waits, none is mixed with another."""

import json
import re
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from src.logs import _Output, info_each, set_up_logging


class Slow:
    """A standard error whose first write takes until the test lets it go."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.busy, self.go_on = threading.Event(), threading.Event()

    def write(self, text: str) -> None:
        self.written.append(text)
        self.busy.set()
        assert self.go_on.wait(5)


def test_lines_that_come_while_one_is_written_follow_it_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow, output = Slow(), _Output()
    monkeypatch.setattr(sys, "stderr", slow)
    first = threading.Thread(target=output.write, args=["a\n"])
    first.start()
    assert slow.busy.wait(5)

    # Neither of them waits.
    output.write("b\n")
    output.write("c\n")
    slow.go_on.set()
    first.join(5)

    assert slow.written == ["a\n", "b\nc\n"]


def test_a_closed_pipe_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, _text: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())

    _Output().write("a\n")


EVENTS = [
    {"event": "completed", "task_id": "a", "attempt": 1, "seconds": 0.5},
    {"event": "failed", "task_id": "b", "attempt": 2, "error": "no 'such' thing"},
]


@pytest.fixture
def structlog_restored() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("structlog_restored")
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_events_written_together_look_as_if_written_one_by_one(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(log_format, "INFO")
    with structlog.contextvars.bound_contextvars(request_id="r"):
        for event in EVENTS:
            structlog.get_logger("some.module").info(**event)
        one_by_one = capsys.readouterr().err
        info_each("some.module", EVENTS)

    together = capsys.readouterr().err
    assert [_fields(line) for line in together.splitlines()] == [
        _fields(line) for line in one_by_one.splitlines()
    ]
    assert len(together.splitlines()) == len(EVENTS)
    assert "request_id" in together


def _fields(line: str) -> object:
    """Return a line without its time, as values where it is JSON: their order may differ."""
    timeless, times = re.subn(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "", line)
    assert times == 1
    return json.loads(timeless) if line.startswith("{") else timeless


@pytest.mark.usefixtures("structlog_restored")
def test_events_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("text", "WARNING")

    info_each("some.module", EVENTS)

    assert capsys.readouterr().err == ""
