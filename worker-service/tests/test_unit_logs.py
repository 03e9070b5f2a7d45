"""Lines of the log: none is lost, none waits, none is mixed with another."""

import sys
import threading

import pytest

from src.logs import _Output


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
