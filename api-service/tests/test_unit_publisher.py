"""What the relay's connection hands to the system, and how often."""

from typing import Any

import pytest
from pika.adapters.base_connection import BaseConnection

from src.services.publisher import _Connection


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One that is open, as far as it knows, and notes what it sends."""
    connection: Any = object.__new__(_Connection)
    connection._written, connection.sent = [], []
    monkeypatch.setattr(_Connection, "is_closed", False)
    monkeypatch.setattr(
        BaseConnection, "_adapter_emit_data", lambda self, data: self.sent.append(data)
    )
    return connection


def test_all_frames_written_in_a_turn_go_in_one_piece_and_in_order(connection: Any) -> None:
    for frame in (b"method", b"header", b"body"):
        connection._adapter_emit_data(frame)
    assert connection.sent == []

    connection.send_written()
    connection.send_written()

    assert connection.sent == [b"methodheaderbody"]


def test_what_a_lost_connection_had_to_say_is_dropped(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection._adapter_emit_data(b"frame")
    monkeypatch.setattr(_Connection, "is_closed", True)

    connection.send_written()

    assert (connection.sent, connection._written) == ([], [])
