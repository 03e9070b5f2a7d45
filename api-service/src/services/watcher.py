"""One thread that looks for changes on behalf of everybody who waits for one.

So those who wait cost a read for each fifty of them and each look, and no thread and no
connection of their own. What it reads it reads one after the other, so no watch ever sees a task
go backwards.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from sqlalchemy import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from src.contract import FINAL
from src.db.database import Database, DatabaseUnavailable, SchemaMismatch
from src.services.changes import GapTooLong, Version, Window, read_rows, read_start, read_versions

log = structlog.get_logger(__name__)

#: Watches at a time; each is a connection of a client, of which a process has about 1,000.
MAX_WATCHES = 800
#: Seconds between two looks, at least and at most; in between ten times the length of a look.
MIN_PAUSE, MAX_PAUSE = 0.1, 2.0
#: Watches of single tasks that are looked at in one go, and the seconds between two goes. In one
#: go for all, the interpreter is kept from other requests: with 500 that wait, p99 of a plain
#: lookup was twice that without them; in pieces it is the same (bench/waiters.py).
PIECE, PIECE_PAUSE = 50, 0.01
#: Seconds to leave a database alone that is away.
AWAY_PAUSE = 1.0
#: Changed tasks that one stream keeps for a client that is slow to read.
MAX_PENDING = 5_000


class WatchesExhausted(Exception):
    """One more watch is refused: so many are open, or the process stops."""


@dataclass(eq=False)
class Watch:
    """What one client waits for. ``put`` is called in the event loop only.

    ``task_id`` None: every task. ``since``: from when a stream that was cut off goes on.
    """

    task_id: str | None
    is_for_end: bool = False
    since: datetime | None = None
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    seen: Version | None = None
    #: The latest state of each changed task, and when it was read.
    pending: dict[str, RowMapping] = field(default_factory=dict)
    snapshot: list[RowMapping] | None = None
    read_at: datetime | None = None
    ended: str | None = None
    has_begun: bool = False
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def put(
        self,
        rows: Sequence[RowMapping] = (),
        at: datetime | None = None,
        *,
        snapshot: bool = False,
        ended: str | None = None,
    ) -> None:
        """Take note of changes; a state that nobody has read yet is replaced."""
        if self.ended:
            return
        if snapshot:
            self.snapshot = list(rows)
        else:
            self.pending |= {row["id"]: row for row in rows}
        self.read_at = at or self.read_at
        self.ended = ended
        if len(self.pending) > MAX_PENDING:
            self.pending.clear()
            self.ended = "slow"
        self._woken.set()

    async def changed(self) -> None:
        """Wait until there is something to take."""
        await self._woken.wait()
        self._woken.clear()


class Watcher:
    """Open watches and the thread that serves them; it ends when there are none."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._watches: set[Watch] = set()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._is_closed = False
        self._window = Window()

    def open(self, watch: Watch) -> None:
        """Begin to watch.

        Raises:
            WatchesExhausted: there are too many.
        """
        with self._lock:
            if len(self._watches) >= MAX_WATCHES or self._is_closed:
                raise WatchesExhausted
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="watcher", daemon=True)
                # It waits for the lock; if it cannot be started, nothing is left of this watch.
                thread.start()
                self._thread = thread
            self._watches.add(watch)
        if not watch.is_for_end:
            self._wake.set()

    def close_watch(self, watch: Watch) -> None:
        with self._lock:
            self._watches.discard(watch)

    async def until_final(self, task_id: str, seconds: float) -> RowMapping | None:
        """Return the task's row once it is final; None after so long, if it is deleted, or when the
        process stops.

        Raises:
            WatchesExhausted: too many wait already.
        """
        watch = Watch(task_id, is_for_end=True)
        self.open(watch)
        try:
            async with asyncio.timeout(seconds):
                await watch.changed()
        except TimeoutError:
            return None
        finally:
            self.close_watch(watch)
        return watch.pending.get(task_id)

    def close(self) -> None:
        """Tell everybody that this process stops."""
        with self._lock:
            self._is_closed = True
            watches = list(self._watches)
        for watch in watches:
            _tell(watch, ended="stopping")
        self._wake.set()

    def _run(self) -> None:
        pause = MIN_PAUSE
        while True:
            began = time.monotonic()
            with self._lock:
                watches = list(self._watches)
                if not watches or self._is_closed:
                    self._thread = None
                    self._window = Window()
                    return
            try:
                rested = self._look(watches)
                busy = time.monotonic() - began - rested
                pause = min(max(MIN_PAUSE, 10 * busy), MAX_PAUSE)
                if self._window.has_more():
                    pause = MIN_PAUSE
            except (DatabaseUnavailable, SchemaMismatch, SQLAlchemyError) as error:
                log.warning("watches wait for the database", reason=type(error).__name__)
                pause = AWAY_PAUSE
            except Exception:
                log.exception("watcher stumbled")
                pause = AWAY_PAUSE
            if self._wake.wait(pause):
                self._wake.clear()

    def _look(self, watches: Sequence[Watch]) -> float:
        """Look once; return the seconds that it rested between the pieces."""
        single = [watch for watch in watches if watch.task_id is not None]
        rested = 0.0
        for begin in range(0, len(single), PIECE):
            if begin:
                time.sleep(PIECE_PAUSE)
                rested += PIECE_PAUSE
            self._look_at_tasks(single[begin : begin + PIECE])
        streams = [watch for watch in watches if watch.task_id is None]
        if streams:
            self._look_at_all(streams)
        else:
            self._window = Window()
        return rested

    def _look_at_tasks(self, watches: Sequence[Watch]) -> None:
        ids = sorted({watch.task_id for watch in watches if watch.task_id})
        at, versions = self._database.read(lambda connection: read_versions(connection, ids))
        changed = {
            watch: version
            for watch in watches
            if (version := versions.get(watch.task_id or "")) != watch.seen or version is None
            if version is None or version.status in FINAL or not watch.is_for_end
        }
        if not changed:
            return
        wanted = sorted({version.task_id for version in changed.values() if version})
        rows = self._database.read(lambda connection: read_rows(connection, wanted, whole=True))
        for watch, version in changed.items():
            row = rows.get(version.task_id) if version else None
            is_final = row is not None and row["status"] in FINAL
            if row is None:
                _tell(watch, ended="deleted")
            elif is_final or not watch.is_for_end:
                # Not so if it has been made to run again since its version was read.
                watch.seen = version
                _tell(watch, [row], at, ended="final" if is_final else None)

    def _look_at_all(self, streams: Sequence[Watch]) -> None:
        try:
            look = self._database.read(self._window.look)
        except GapTooLong:
            self._window = Window()
            for watch in streams:
                _tell(watch, ended="gap")
            return
        self._window.note(look)
        for watch in [watch for watch in streams if watch.has_begun]:
            if look.rows:
                _tell(watch, look.rows, look.at)
        new = [watch for watch in streams if not watch.has_begun]
        self._begin([watch for watch in new if watch.since is None], None)
        # One read for all: who was cut off later is told some things again.
        cut_off = {watch: watch.since for watch in new if watch.since is not None}
        self._begin(list(cut_off), min(cut_off.values(), default=None))

    def _begin(self, watches: Sequence[Watch], since: datetime | None) -> None:
        if not watches:
            return
        start = self._database.read(partial(read_start, since=since))
        for watch in watches:
            watch.has_begun = True
            _tell(watch, start.rows, start.at, snapshot=start.is_snapshot)


def _tell(watch: Watch, *changes: Any, **more: Any) -> None:
    """Have ``watch.put`` called in its event loop."""
    try:
        watch.loop.call_soon_threadsafe(partial(watch.put, *changes, **more))
    except RuntimeError:  # the loop is closed: nobody waits any more
        watch.ended = "stopping"
