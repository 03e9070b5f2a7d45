"""Handlers: how they are declared, found and called."""

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from src.handlers import Cancelled, Context, Permanent, RetryAfter, handler
from src.handlers.call import call
from src.handlers.declare import MARK, Handler
from src.handlers.load import HandlersUnusable, load_handlers
from src.handlers.simulate import make_simulate
from src.outcome import Failure, Outcome, Progress, Success


class Letter(BaseModel):
    """A payload."""

    to: str = Field(min_length=3)
    copies: int = 1


def context(seconds: float = 60, **more: Any) -> Context:
    return Context("t", 2, "letter", "Title", "What", time.monotonic() + seconds, **more)


def declared(function: Any) -> Handler:
    mark = getattr(function, MARK)
    assert isinstance(mark, Handler)
    return mark


def run(function: Callable[..., Any], details: Any = None, **options: Any) -> Outcome:
    return call(declared(handler("letter", **options)(function)), details, context())


# --- declaring ------------------------------------------------------------------------------------


def test_a_declared_function_stays_what_it_was() -> None:
    @handler("letter", payload=Letter, max_attempts=5, timeout_seconds=0.5, backoff=[1, 60])
    def send(letter: Letter, context: Context) -> str:
        """Send a letter
        by post.

        More about it.
        """
        return letter.to + context.task_id

    assert send(Letter(to="ann"), context()) == "annt"
    assert declared(send).backoff == (1, 60)
    assert declared(send).entry() == {
        "name": "letter",
        "description": "Send a letter by post.",
        "payload_schema": Letter.model_json_schema(),
        "max_attempts": 5,
        "timeout_seconds": 1,
    }


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "with space"},
        {"name": "x" * 65},
        {"name": "é"},
        {"payload": dict},
        {"max_attempts": 0},
        {"timeout_seconds": 0},
        {"timeout_seconds": float("nan")},
        {"backoff": -1},
        {"backoff": [1, float("inf")]},
    ],
)
def test_a_declaration_out_of_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        handler(options.pop("name", "letter"), **options)


def _takes_one(payload: Any) -> None: ...


def _yields(payload: Any, context: Any) -> Any:
    yield 1


@pytest.mark.parametrize("function", [_takes_one, _yields, Letter])
def test_what_cannot_be_a_handler_is_refused(function: Any) -> None:
    with pytest.raises(TypeError):
        handler("letter")(function)


def test_a_handler_with_a_process_of_its_own_must_be_found_by_its_name() -> None:
    def local(payload: Any, context: Any) -> None: ...

    with pytest.raises(TypeError, match="in the module itself"):
        handler("letter", process=True)(local)


# --- finding --------------------------------------------------------------------------------------

SIMULATE = {"simulate": make_simulate(0, None)}
GOOD = """
from src.handlers import handler

@handler("greet")
def greet(payload, context):
    return "hello"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Write a module under a name of this test alone; return the name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str) -> str:
        unique = f"{tmp_path.name.replace('-', '_')}_{name}"
        (tmp_path / f"{unique}.py").write_text(source)
        return unique

    return write


def test_the_handlers_of_the_named_modules_are_found(module: Callable[[str, str], str]) -> None:
    first = module("first", GOOD)
    second = module("second", f"from {first} import greet\n" + GOOD.replace("greet", "part"))

    found = load_handlers([first, second], SIMULATE)

    assert sorted(found) == ["greet", "part", "simulate"]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import nothing_like_this", "No module named 'nothing_like_this' (NAME.py, line 1)"),
        ("\n\n1 / 0", "ZeroDivisionError: division by zero (NAME.py, line 3)"),
        ("def broken(:", "SyntaxError: invalid syntax (NAME.py, line 1)"),
        ("raise SystemExit(3)", "SystemExit: 3 (NAME.py, line 1)"),
        ("x = 1", "holds no handler"),
        (GOOD.replace('"greet"', '"simulate"'), "'simulate' is built in"),
        (GOOD + GOOD.replace("def greet", "def other"), "'greet' is handled in NAME too"),
        (GOOD.replace('"greet"', '"no good"'), "'no good': a type is named by"),
    ],
)
def test_a_module_that_cannot_be_used_is_told_in_one_line(
    module: Callable[[str, str], str], source: str, complaint: str
) -> None:
    name = module("bad", source)

    with pytest.raises(HandlersUnusable) as caught:
        load_handlers([name], SIMULATE)

    line = str(caught.value)
    assert line.startswith(f"HANDLER_MODULES: {name}: ")
    assert complaint.replace("NAME", name) in line
    assert "\n" not in line


def test_a_module_that_is_not_there_is_told_with_where_it_is_looked_for() -> None:
    with pytest.raises(HandlersUnusable, match="no such module"):
        load_handlers(["handlers_nowhere.letters"], SIMULATE)


# --- calling --------------------------------------------------------------------------------------


def test_what_a_handler_returns_is_a_success() -> None:
    assert run(lambda details, _context: {"got": details}, {"n": 1}) == Success({"got": {"n": 1}})
    assert run(lambda *_: None) == Success(None)
    assert run(lambda *_: Letter(to="ann")) == Success({"to": "ann", "copies": 1})


def test_a_payload_is_the_model_that_was_declared() -> None:
    def send(letter: Letter, _context: Context) -> str:
        return f"{letter.copies} to {letter.to}"

    assert run(send, {"to": "ann", "other": 1}, payload=Letter) == Success("1 to ann")


def test_a_payload_that_does_not_fit_fails_for_good_and_shows_no_value() -> None:
    outcome = run(lambda *_: None, {"to": "x!", "copies": "secret"}, payload=Letter)

    assert isinstance(outcome, Failure)
    assert outcome.permanent
    assert outcome.error.startswith("the payload does not fit: to: String should have at least 3")
    assert "copies: " in outcome.error
    assert "secret" not in outcome.error
    assert "x!" not in outcome.error


def test_a_strict_model_takes_what_json_has_no_other_way_to_say() -> None:
    class Meeting(BaseModel, strict=True):
        at: datetime
        room: UUID

    details = {"at": "2026-01-23T04:17:34Z", "room": "01931f6e-8a37-7c31-b1f5-3f0c2a9d7e10"}

    assert run(lambda meeting, _: meeting.at.hour, details, payload=Meeting) == Success(4)


def test_no_metadata_is_an_empty_payload() -> None:
    class Nothing(BaseModel):
        copies: int = 7

    assert run(lambda payload, _: payload.copies, None, payload=Nothing) == Success(7)


def test_what_a_handler_raises_is_a_failure_with_type_and_message() -> None:
    def fail(*_: Any) -> None:
        raise KeyError("colour")

    outcome = run(fail)

    assert isinstance(outcome, Failure)
    assert outcome.error == "KeyError: 'colour'"
    assert "in fail" in outcome.traceback
    assert not outcome.permanent
    assert outcome.retry_after_seconds is None


def test_a_validation_error_of_the_handlers_own_is_an_error_like_others() -> None:
    outcome = run(lambda *_: Letter(to="x"))

    assert isinstance(outcome, Failure)
    assert not outcome.permanent


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Cancelled("unasked")])
def test_even_an_exit_in_a_handler_is_only_a_failure(error: BaseException) -> None:
    def leave(*_: Any) -> None:
        raise error

    outcome = run(leave)

    assert isinstance(outcome, Failure)
    assert outcome.error.startswith(type(error).__name__)


def test_permanent_says_so() -> None:
    def refuse(*_: Any) -> None:
        raise Permanent("no such account")

    outcome = run(refuse)

    assert isinstance(outcome, Failure)
    assert (outcome.error, outcome.permanent) == ("Permanent: no such account", True)


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [
        (30, 30),
        (0, 0),
        (-5, 0),
        (1e300, 31_622_400),
        (float("nan"), None),
        ("soon", None),
        (10**400, None),
    ],
)
def test_retry_after_sets_the_delay_where_it_is_one(seconds: Any, kept: float | None) -> None:
    def busy(*_: Any) -> None:
        raise RetryAfter(seconds, "the other side is busy")

    outcome = run(busy)

    assert isinstance(outcome, Failure)
    assert outcome.error == "RetryAfter: the other side is busy"
    assert outcome.retry_after_seconds == kept


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_a_result_may_be_as_large_and_deep_as_is_told() -> None:
    for result in (nested(20), "x" * 65_534, -(2**63), 2**64 - 1):
        assert run(lambda *_, result=result: result) == Success(result)


@pytest.mark.parametrize(
    "result",
    [
        {1, 2},
        float("nan"),
        b"bytes",
        "\ud800",
        "x" * 70_000,
        2**64,
        [10**400],
        {1: "a"},
        nested(21),
    ],
)
def test_a_result_that_cannot_be_kept_fails_for_good(result: Any) -> None:
    outcome = run(lambda *_: result)

    assert isinstance(outcome, Failure)
    assert outcome.permanent
    assert outcome.error.startswith("the result ")


def test_an_exception_that_cannot_even_be_written_out_is_a_failure() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def fail(*_: Any) -> None:
        raise Mute

    outcome = run(fail)

    assert isinstance(outcome, Failure)
    assert "Mute" in outcome.error


def test_an_async_handler_behind_a_plain_decorator_is_awaited_too() -> None:
    async def wait(_payload: Any, _context: Context) -> int:
        return 5

    assert run(lambda payload, context: wait(payload, context)) == Success(5)


def test_a_retry_after_that_forgot_its_seconds_is_an_error_like_others() -> None:
    class Later(RetryAfter):
        def __init__(self) -> None:
            pass

    def fail(*_: Any) -> None:
        raise Later

    outcome = run(fail)

    assert isinstance(outcome, Failure)
    assert outcome.retry_after_seconds is None


def test_a_decorator_above_is_part_of_the_handler(
    module: Callable[[str, str], str],
) -> None:
    name = module(
        "wrapped",
        "import functools\nfrom src.handlers import handler\n"
        "def twice(f):\n    @functools.wraps(f)\n"
        "    def outer(payload, context): return 2 * f(payload, context)\n    return outer\n"
        "@twice\n@handler('four')\ndef four(payload, context): return 2\n",
    )

    found = load_handlers([name], SIMULATE)

    assert call(found["four"], None, context()) == Success(4)


def test_an_async_handler_is_awaited() -> None:
    async def wait(payload: Any, _context: Context) -> Any:
        await asyncio.sleep(0.01)
        return payload

    assert run(wait, {"n": 1}) == Success({"n": 1})


def test_an_async_handler_that_is_told_to_stop_is_cancelled_where_it_waits() -> None:
    waiting, cleaned_up = threading.Event(), threading.Event()

    @handler("letter")
    async def wait(_payload: Any, _context: Context) -> None:
        try:
            waiting.set()
            await asyncio.sleep(60)
        finally:
            cleaned_up.set()

    mine = context()
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(call(declared(wait), None, mine)))
    thread.start()
    assert waiting.wait(5)
    mine.cancelled.set()
    thread.join(5)

    assert cleaned_up.is_set()
    assert [type(outcome) for outcome in outcomes] == [Failure]


# --- the context ----------------------------------------------------------------------------------


def test_progress_is_kept_within_its_bounds() -> None:
    reported: list[Progress] = []
    mine = context(report=reported.append)

    for percent, note in [(12.6, "a"), (-1, None), (700, "n" * 300 + "\x00")]:
        mine.progress(percent, note)

    assert [progress.percent for progress in reported] == [13, 0, 100]
    assert [len(progress.note or "") for progress in reported] == [1, 0, 255]
    assert mine.latest == reported[-1]


def test_the_remaining_time_ends_at_zero() -> None:
    assert 59 < context(60).remaining_seconds() <= 60
    assert context(-1).remaining_seconds() == 0


def test_a_handler_can_ask_and_leave_when_told_to_stop() -> None:
    mine = context()
    mine.raise_if_cancelled()

    mine.cancelled.set()

    with pytest.raises(Cancelled):
        mine.raise_if_cancelled()


def test_who_cannot_wait_for_the_event_is_called_also_when_it_was_set_before() -> None:
    mine, calls = context(), []
    with mine.cancelled.calling(lambda: calls.append("during")):
        mine.cancelled.set()
    with mine.cancelled.calling(lambda: calls.append("before")):
        pass
    mine.cancelled.set()

    assert calls == ["during", "before"]
