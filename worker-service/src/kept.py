"""Transactions on a connection that stays out of the pool between them."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine


class Kept:
    """Begins transactions, from any thread, and keeps the connection of the last one at hand.

    To take one from the pool and to give it back is 55 us of CPU, and several times that where a
    task comes alone and finds the caches cold; with one at hand it is 8 us. Who comes while that
    one is in use takes another from the pool.
    """

    def __init__(self, engine: Engine, *, stale_seconds: float) -> None:
        """``stale_seconds``: unused for so long, a connection may have been ended by the server."""
        self._engine = engine
        self._stale_seconds = stale_seconds
        #: At most one, mostly; and since when, in seconds of ``time.monotonic``.
        self._at_hand: deque[tuple[Connection, float]] = deque()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Commit when the block ends, or roll back if it fails."""
        connection = self._take()
        try:
            with connection.begin():
                yield connection
        except BaseException:
            connection.close()
            raise
        self._keep(connection)

    def close(self) -> None:
        """Give back what is at hand, for the engine to be disposed of."""
        while self._at_hand:
            self._at_hand.pop()[0].close()

    def _take(self) -> Connection:
        try:
            connection, since = self._at_hand.pop()
        except IndexError:
            return self._engine.connect()
        if time.monotonic() - since > self._stale_seconds:
            # It connects anew when it is used.
            connection.invalidate()
        return connection

    def _keep(self, connection: Connection) -> None:
        if self._at_hand:
            connection.close()
        else:
            self._at_hand.append((connection, time.monotonic()))
