"""A connection kept between transactions: the same one, as long as it is good."""

from contextlib import ExitStack
from typing import Any

import pytest
from conftest import Bench
from sqlalchemy import Connection, select, text, update
from sqlalchemy.exc import DBAPIError

from src.config import Settings
from src.handlers.simulate import make_simulate
from src.kept import Kept
from src.stop import StopRequests
from src.store.tables import TASKS
from src.worker import Worker


@pytest.fixture
def kept(bench: Bench) -> Any:
    kept = Kept(bench.engine, stale_seconds=60)
    yield kept
    kept.close()


def driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def used(kept: Kept) -> Any:
    """Make a transaction; return the driver's connection that it had."""
    with kept.begin() as connection:
        connection.execute(text("SELECT 1"))
        return driver(connection)


def taken(bench: Bench) -> int:
    """Count what is out of the pool, but for what the bench keeps itself."""
    return int(bench.engine.pool.checkedout()) - 1  # type: ignore[attr-defined]


def rename(connection: Connection, task: str) -> None:
    connection.execute(update(TASKS).where(TASKS.c.id == task).values(title="new"))


def test_a_transaction_is_committed_and_the_next_has_the_same_connection(
    bench: Bench, kept: Kept
) -> None:
    task = bench.add(title="old")

    with kept.begin() as connection:
        rename(connection, task)
        first = driver(connection)

    with bench.engine.begin() as other:
        assert driver(other) is not first
        assert other.scalar(select(TASKS.c.title).where(TASKS.c.id == task)) == "new"
    assert used(kept) is first


def test_a_block_that_fails_is_rolled_back_and_leaves_no_transaction(
    bench: Bench, kept: Kept
) -> None:
    task = bench.add(title="old")

    def fail() -> None:
        with kept.begin() as connection:
            rename(connection, task)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as failure:
        fail()

    assert used(kept)
    assert bench.task(task).title == "old"
    # Held on to, as it may be by whoever logs it: with its frames, and so with the connection.
    assert failure.value
    assert taken(bench) == 1


@pytest.mark.real_server
def test_two_at_once_have_a_connection_each_and_one_is_kept(bench: Bench, kept: Kept) -> None:
    with kept.begin() as one:
        other = used(kept)
        assert driver(one) is not other

    assert used(kept) is other
    assert taken(bench) == 1


def test_one_that_was_idle_for_too_long_is_made_anew(bench: Bench) -> None:
    kept = Kept(bench.engine, stale_seconds=-1)

    first = used(kept)

    assert used(kept) is not first
    kept.close()


def test_one_that_is_older_than_the_loss_of_another_is_made_anew(bench: Bench, kept: Kept) -> None:
    first = used(kept)

    with bench.engine.connect() as other:
        other.invalidate(ConnectionError("the server was restarted"))

    assert used(kept) is not first


def test_nothing_is_kept_from_a_pool_that_has_none_left(bench: Bench, kept: Kept) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(bench.engine.connect())
        used(kept)

        assert taken(bench) == 3


def test_what_is_at_hand_can_be_given_back_for_good(bench: Bench, kept: Kept) -> None:
    used(kept)

    kept.close()

    assert taken(bench) == 0
    assert used(kept)
    assert taken(bench) == 0


@pytest.mark.real_server
def test_one_that_the_server_ended_fails_once(bench: Bench, kept: Kept) -> None:
    with kept.begin() as connection:
        number = connection.scalar(text("SELECT CONNECTION_ID()"))
    with bench.engine.begin() as other:
        other.execute(text(f"KILL {number}"))

    with pytest.raises(DBAPIError):
        used(kept)

    assert used(kept)


def test_a_workers_stores_on_one_engine_share_what_is_kept(bench: Bench) -> None:
    settings = Settings(database_url="sqlite:///not-used.db", broker_url="")
    worker = Worker(settings, {"simulate": make_simulate(0, None)}, bench.engine, StopRequests())

    tasks, leases = worker._stores(bench.engine)
    tasks.claim(bench.worker_id, [bench.add()], take_suspect=False)
    [fence] = leases.claimed(bench.worker_id)
    tasks.give_back([fence], "the worker stopped")

    assert taken(bench) == 1
