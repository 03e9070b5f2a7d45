"""The writer: what shares a commit, what is left out of it, and that nothing ends it."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from conftest import wait_until
from sqlalchemy import Connection, func, select, text

from src.db.database import Database, DatabaseUnavailable
from src.models.tables import Task
from src.services import new_tasks
from src.services import writer as module
from src.services.errors import KeyReused, TooManySubmissions
from src.services.new_tasks import NewTask, Repeatable, Stored, Submission
from src.services.publisher import Message
from src.services.writer import Writer


class FakeRelay:
    def __init__(self) -> None:
        self.handed: list[Sequence[Message]] = []

    def hand(self, messages: Sequence[Message]) -> None:
        self.handed.append(messages)


class SlowDatabase(Database):
    """Its transactions can be held up: at their begin, or before their commit."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.writes = 0
        self.may_begin, self.may_commit = threading.Event(), threading.Event()
        self.may_begin.set()
        self.may_commit.set()
        self.errors: list[Exception] = []

    def write(self, work: Callable[[Connection], Any]) -> Any:
        self.writes += 1
        assert self.may_begin.wait(10)
        if self.errors:
            raise self.errors.pop()

        def held_up(connection: Connection) -> Any:
            connection.execute(select(Task.id).limit(1))
            assert self.may_commit.wait(10)
            return work(connection)

        return super().write(held_up)

    def titles(self) -> set[str]:
        query = select(Task.title)
        return set(self.read(lambda connection: connection.scalars(query).all()))


@pytest.fixture
def database(tmp_path: Any) -> Iterator[SlowDatabase]:
    database = SlowDatabase(f"sqlite:///{tmp_path / 'tasks.db'}")
    database.check_schema()
    yield database
    database.close()


@pytest.fixture
def relay() -> FakeRelay:
    return FakeRelay()


@pytest.fixture
def writer(database: SlowDatabase, relay: FakeRelay) -> Iterator[Writer]:
    writer = Writer(database, relay)
    yield writer
    database.may_begin.set()
    database.may_commit.set()
    writer.stop()


def task(number: int, key: str | None = None, hash_: str = "h", **more: Any) -> NewTask:
    repeatable = Repeatable(key, hash_) if key else None
    wish = Submission(**{"title": f"t{number}", "description": "d", "details": None, **more})
    return NewTask(f"00000000-0000-7000-8000-{number:012d}", wish, 1, repeatable)


async def store(writer: Writer, tasks: Sequence[NewTask]) -> list[Stored | BaseException]:
    return await asyncio.gather(*map(writer.store, tasks), return_exceptions=True)


async def behind_one(
    database: SlowDatabase, writer: Writer, tasks: Sequence[NewTask]
) -> list[Stored | BaseException]:
    """Submit tasks while one more is being committed, so that they share the next commit."""
    database.may_begin.clear()
    first = asyncio.ensure_future(writer.store(task(999)))
    while not database.writes:
        await asyncio.sleep(0.01)
    others = asyncio.ensure_future(store(writer, tasks))
    while len(writer._waiting) < len(tasks):
        await asyncio.sleep(0.01)
    database.may_begin.set()
    await first
    return await others


def test_what_comes_during_a_commit_shares_the_next(
    database: SlowDatabase, writer: Writer, relay: FakeRelay
) -> None:
    tasks = [task(number) for number in range(30)]

    answers = asyncio.run(behind_one(database, writer, tasks))

    assert answers == [Stored(new.task_id) for new in tasks]
    assert database.writes == 2
    assert [len(messages) for messages in relay.handed] == [1, 30]


def test_a_batch_is_limited_in_rows_and_in_bytes(
    database: SlowDatabase, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(module, "BATCH_BYTES", 250)
    large = [task(number, description="d" * 100) for number in range(10, 13)]

    asyncio.run(behind_one(database, writer, [task(number) for number in range(5)] + large))

    # The first one; four; one with one that is large, and the two that have no room beside it.
    assert database.writes == 1 + 1 + 1 + 1


def test_a_key_twice_in_a_batch_is_stored_once(database: SlowDatabase, writer: Writer) -> None:
    tasks = [task(1, "k"), task(2, "k"), task(3, "k", "other"), task(4)]

    first, second, third, fourth = asyncio.run(behind_one(database, writer, tasks))

    assert first == Stored(tasks[0].task_id)
    assert second == Stored(tasks[0].task_id, replayed=True)
    assert isinstance(third, KeyReused)
    assert fourth == Stored(tasks[3].task_id)
    assert database.titles() == {"t999", "t1", "t4"}
    assert database.writes == 2


def test_a_bad_row_fails_its_own_request_only(real_database: Database) -> None:
    writer = Writer(real_database, None)
    bad = task(5, title="x" * 300)

    answers = asyncio.run(store(writer, [*(task(number) for number in range(5)), bad]))

    writer.stop()
    assert [isinstance(answer, Stored) for answer in answers] == [True] * 5 + [False]
    count = real_database.read(lambda c: c.scalar(select(func.count()).select_from(Task)))
    assert count == 5


def test_a_key_that_another_process_stores_meanwhile_is_found(
    real_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers = [Writer(real_database, None), Writer(real_database, None)]
    # The first look of each finds nothing, as if the other one committed right after it.
    find, looks = new_tasks.find_keys, []

    def blind_once(connection: Connection, keys: Sequence[str]) -> Any:
        looks.append(keys)
        return {} if len(looks) == 2 else find(connection, keys)

    monkeypatch.setattr(new_tasks, "find_keys", blind_once)

    first, *second = [
        asyncio.run(store(writer, tasks))
        for writer, tasks in zip(writers, ([task(1, "k")], [task(2, "k")]), strict=True)
    ]

    for writer in writers:
        writer.stop()
    assert first == [Stored(task(1).task_id)]
    assert second == [[Stored(task(1).task_id, replayed=True)]]


def test_what_was_answered_503_before_its_turn_is_not_stored(
    database: SlowDatabase, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.05)
    database.may_begin.clear()

    answers = asyncio.run(store(writer, [task(1), task(2)]))

    assert all(isinstance(answer, DatabaseUnavailable) for answer in answers)
    database.may_begin.set()
    monkeypatch.setattr(module, "WAIT_SECONDS", 10)
    asyncio.run(store(writer, [task(3)]))
    assert database.titles() == {"t3"}


def test_what_was_answered_503_during_its_transaction_is_left_out_of_it(
    database: SlowDatabase, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.may_commit.clear()

    async def submit() -> tuple[Any, Any]:
        monkeypatch.setattr(module, "WAIT_SECONDS", 0.05)
        impatient = asyncio.ensure_future(writer.store(task(1)))
        await asyncio.sleep(0)
        monkeypatch.setattr(module, "WAIT_SECONDS", 10)
        patient = asyncio.ensure_future(writer.store(task(2)))
        with pytest.raises(DatabaseUnavailable) as refused:
            await impatient
        database.may_commit.set()
        return refused.value, await patient

    _, stored = asyncio.run(submit())

    assert stored == Stored(task(2).task_id)
    assert database.titles() == {"t2"}


def test_what_was_answered_503_while_the_tables_were_locked_is_not_stored_later(
    real_database: Database, relay: FakeRelay
) -> None:
    writer = Writer(real_database, relay)
    real_database.check_schema()

    with real_database.engine.connect() as backup:
        backup.execute(text("LOCK TABLES tasks WRITE"))
        [answer] = asyncio.run(store(writer, [task(1)]))
        assert isinstance(answer, DatabaseUnavailable)
        backup.execute(text("UNLOCK TABLES"))
        # Now the server goes on with what it was told, although nobody is there any more.
        under_way = text(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'INS%'"
        )
        wait_until(lambda: backup.scalar(under_way) == 0, 10, "the server to be done with it")

    writer.stop()
    assert real_database.read(lambda c: c.scalar(select(func.count()).select_from(Task))) == 0


def test_nothing_ends_the_writer(database: SlowDatabase, writer: Writer) -> None:
    for error in (DatabaseUnavailable("away"), RuntimeError("a defect")):
        database.errors = [error]

        [answer] = asyncio.run(store(writer, [task(1)]))

        assert type(answer) is type(error)
    assert asyncio.run(store(writer, [task(1)])) == [Stored(task(1).task_id)]


def test_a_relay_that_stumbles_does_not_end_the_writer(
    writer: Writer, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(_messages: Sequence[Message]) -> None:
        monkeypatch.undo()
        raise RuntimeError("a defect")

    monkeypatch.setattr(relay, "hand", stumble)

    # The outbox has it: it is stored whatever becomes of the message.
    assert asyncio.run(store(writer, [task(1)])) == [Stored(task(1).task_id)]
    assert asyncio.run(store(writer, [task(2)])) == [Stored(task(2).task_id)]


def test_an_absent_database_is_told_to_all_at_once(database: SlowDatabase, writer: Writer) -> None:
    async def submit() -> list[Stored | BaseException]:
        database.may_begin.clear()
        waiting = asyncio.ensure_future(store(writer, [task(number) for number in range(9)]))
        while len(writer._waiting) + 1 < 9 and not database.writes:
            await asyncio.sleep(0.01)
        database.errors = [DatabaseUnavailable("away")] * 9
        database.may_begin.set()
        return await waiting

    answers = asyncio.run(submit())

    assert all(isinstance(answer, DatabaseUnavailable) for answer in answers)
    assert len({id(answer) for answer in answers}) == 9
    assert database.writes <= 2, "not halved: no row of it is bad"


def test_one_more_than_may_wait_is_refused_at_once(
    database: SlowDatabase, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    database.may_begin.clear()

    async def submit() -> BaseException:
        first = asyncio.ensure_future(writer.store(task(0)))
        while not database.writes:
            await asyncio.sleep(0.01)
        others = asyncio.ensure_future(store(writer, [task(1), task(2)]))
        await asyncio.sleep(0.01)
        [refused] = await store(writer, [task(3)])
        database.may_begin.set()
        await first
        await others
        assert isinstance(refused, BaseException)
        return refused

    assert isinstance(asyncio.run(submit()), TooManySubmissions)


def test_readiness_notices_a_writer_that_does_not_come_back(
    database: SlowDatabase, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(module, "COMMIT_SECONDS", 0.05)
    writer.check()
    database.may_begin.clear()
    asyncio.run(store(writer, [task(1)]))

    def is_stuck() -> bool:
        try:
            writer.check()
        except DatabaseUnavailable:
            return True
        return False

    wait_until(is_stuck, 5, "the writer to be seen as stuck")
    database.may_begin.set()
    wait_until(lambda: not is_stuck(), 5, "the writer to be back")


def test_what_waits_is_stored_before_the_end(database: SlowDatabase, writer: Writer) -> None:
    async def submit() -> list[Stored | BaseException]:
        database.may_begin.clear()
        waiting = asyncio.ensure_future(writer.store(task(0)))
        while not database.writes:
            await asyncio.sleep(0.01)
        others = asyncio.ensure_future(store(writer, [task(number) for number in range(1, 9)]))
        stopping = asyncio.ensure_future(asyncio.to_thread(writer.stop))
        await asyncio.sleep(0.05)
        database.may_begin.set()
        await stopping
        return [await waiting, *await others]

    assert all(isinstance(answer, Stored) for answer in asyncio.run(submit()))


def test_a_writer_that_was_stopped_begins_anew(writer: Writer) -> None:
    asyncio.run(store(writer, [task(1)]))
    writer.stop()

    assert asyncio.run(store(writer, [task(2)])) == [Stored(task(2).task_id)]
