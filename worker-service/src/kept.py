"""Transactions on a connection that stays out of the pool between them."""

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, event


class Kept:
    """Begins transactions, from any thread, and keeps the connection of the last one at hand.

    To take one from the pool and to give it back is 55 us of CPU, and several times that where a
    task comes alone and finds the caches cold; with one at hand it is 8 us. Who comes while that
    one is in use takes another from the pool; nothing is kept while the pool has none left.
    """

    def __init__(self, engine: Engine, *, stale_seconds: float) -> None:
        """``stale_seconds``: unused for so long, a connection may have been ended by the server."""
        self._engine = engine
        self._stale_seconds = stale_seconds
        #: At most one, mostly; and since when, in seconds of ``time.monotonic``.
        self._at_hand: deque[tuple[Connection, float]] = deque()
        self._is_closed = False
        #: When a connection was last found lost: older ones are so, too. The pool thinks likewise.
        self._lost_at = -math.inf
        event.listen(engine, "invalidate", self._note_loss)

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
        self._is_closed = True
        try:
            while True:
                self._at_hand.pop()[0].close()
        except IndexError:
            return

    def _take(self) -> Connection:
        try:
            connection, since = self._at_hand.pop()
        except IndexError:
            return self._engine.connect()
        if since < max(self._lost_at, time.monotonic() - self._stale_seconds):
            # It connects anew when it is used.
            connection.invalidate()
        return connection

    def _keep(self, connection: Connection) -> None:
        if self._at_hand or self._is_closed or self._is_pool_empty():
            connection.close()
        else:
            self._at_hand.append((connection, time.monotonic()))

    def _is_pool_empty(self) -> bool:
        # Somebody may wait there.
        pool = self._engine.pool
        return isinstance(pool, QueuePool) and pool.checkedout() >= pool.size()

    def _note_loss(self, _driver: Any, _record: Any, error: BaseException | None) -> None:
        if error:
            self._lost_at = time.monotonic()
