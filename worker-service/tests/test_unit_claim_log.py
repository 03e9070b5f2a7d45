"""When claims go into the log, and how many in a line."""

from typing import Any

from conftest import make_executor
from structlog.testing import capture_logs

from src.consumers import Claimed
from src.decision import Counts
from src.executor import Executor
from src.handlers.declare import Handler
from src.store.attempts import Attempt, Fence


def executor() -> Executor:
    """Make one whose threads are not started: what it is given waits."""
    return make_executor(Handler("work", lambda *_: None))


def claimed(name: str, **more: Any) -> Claimed:
    return Claimed(Attempt(Fence(name, 1), "work", "t", "d", None, Counts(0, 0), **more))


def test_claims_are_told_later_and_once() -> None:
    slots = executor()
    with capture_logs() as lines:
        slots.start(claimed("a"))
        assert (lines, slots.claim_log.has_untold()) == ([], True)

        slots.claim_log.tell()
        slots.claim_log.tell()

    assert [(line["event"], line["task_id"]) for line in lines] == [("claimed", "a")]
    assert not slots.claim_log.has_untold()


def test_what_may_take_the_process_down_is_told_at_once() -> None:
    with capture_logs() as lines:
        executor().start(claimed("t", suspect=True))

    assert [(line["event"], line["task_id"]) for line in lines] == [("claimed", "t")]


def test_lines_are_of_bearable_length() -> None:
    names = [f"{number}" for number in range(250)]
    slots = executor()
    slots.start(*map(claimed, names))

    with capture_logs() as lines:
        slots.claim_log.tell()

    assert [line["attempts"] for line in lines] == [100, 100, 50]
    assert [task_id for line in lines for task_id in line["task_ids"]] == names
