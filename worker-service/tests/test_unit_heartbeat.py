"""The heartbeat's rules with a store that says what the test wants."""

import time
from collections.abc import Collection
from typing import Any

import pytest
from conftest import make_executor
from sqlalchemy.exc import OperationalError

from src.consumers import Claimed
from src.contract import Status
from src.decision import Counts
from src.dispatcher import Dispatcher
from src.execution import Finished
from src.executor import Executor
from src.heartbeat import Heartbeat
from src.held import Held
from src.lease import Lease
from src.outcome import Released, Stopped
from src.store.attempts import Attempt, Fence
from src.store.leases import Beat

ROW = Fence("t", 1)


class Stores:
    """Both stores at once: what is claimed, and what was given back."""

    def __init__(self) -> None:
        self.claimed: dict[Fence, bool] = {}
        self.given_back: list[Fence] = []
        self.registered: list[str] = []
        self.failures: list[Exception | None] = []
        self.buried = False
        self.published: list[str] = []

    def register(self, worker_id: str, _about: Any) -> None:
        self.registered.append(worker_id)
        failure = self.failures.pop(0) if self.failures else None
        if failure:
            raise failure

    def beat(self, _worker_id: str, _load: Any) -> Beat | None:
        if self.buried:
            self.buried = False
            return None
        return Beat(dict(self.claimed), {})

    def publish_types(self, _types: Any, *, overwrite: bool) -> None:
        self.published.append("all" if overwrite else "missing")

    def take_orphans(self) -> dict[Fence, Status]:
        return {}

    def give_back(self, fences: Collection[Fence], _reason: str) -> dict[Fence, Status]:
        self.given_back += fences
        return dict.fromkeys(fences, Status.PENDING)


@pytest.fixture
def stores() -> Stores:
    return Stores()


@pytest.fixture
def outcomes() -> list[Finished]:
    return []


@pytest.fixture
def executor(outcomes: list[Finished]) -> Executor:
    return make_executor(finished=outcomes.append)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def lease() -> Lease:
    return Lease(15)


@pytest.fixture
def heartbeat(stores: Stores, executor: Executor, held: Held, lease: Lease) -> Heartbeat:
    return Heartbeat(
        stores,  # type: ignore[arg-type]
        stores,  # type: ignore[arg-type]
        lease,
        executor,
        held,
        about={},
        catalogue=[{"name": "simulate"}],
        renewed=lambda: None,
        rescued=lambda: None,
    )


def claimed(fence: Fence = ROW) -> Claimed:
    return Claimed(Attempt(fence, "simulate", "t", "d", None, Counts(0, 0)))


def test_a_row_that_nobody_here_knows_is_given_back_when_seen_twice(
    heartbeat: Heartbeat, stores: Stores
) -> None:
    stores.claimed = {ROW: False}

    heartbeat.beat_once()
    assert stores.given_back == []
    heartbeat.beat_once()
    assert stores.given_back == [ROW]


def test_a_row_that_runs_here_is_left_alone(
    heartbeat: Heartbeat, stores: Stores, held: Held
) -> None:
    stores.claimed = {ROW: False}
    held.add([claimed().attempt])

    for _ in range(3):
        heartbeat.beat_once()

    assert stores.given_back == []


def test_a_row_whose_claim_may_still_be_answered_is_left_alone(
    heartbeat: Heartbeat, stores: Stores, held: Held
) -> None:
    stores.claimed = {ROW: False}

    with held.claiming():
        for _ in range(3):
            heartbeat.beat_once()
        assert stores.given_back == []
    heartbeat.beat_once()

    assert stores.given_back == [ROW]


def test_every_registration_takes_an_id_of_its_own(heartbeat: Heartbeat, stores: Stores) -> None:
    lost = OperationalError("INSERT", {}, Exception(2013, "Lost connection"))
    stores.failures = [lost, lost]

    for _ in range(3):
        heartbeat.beat_once()

    assert len(set(stores.registered)) == 3


def test_a_lease_is_fresh_for_half_of_its_time(lease: Lease) -> None:
    assert not lease.is_fresh()
    lease.renew(time.monotonic() - 7)
    assert lease.is_fresh()
    lease.renew(time.monotonic() - 8)
    assert not lease.is_fresh()


class OneTask:
    """A consumer that always has a task."""

    def __init__(self, on_claim: Any = lambda: None) -> None:
        self.claims = 0
        self.asked: list[bool] = []
        self.slots: list[int] = []
        self._on_claim = on_claim

    def seconds_until_ready(self) -> float:
        return 0.0

    def claim(self, slots: int, *, take_suspect: bool) -> list[Claimed]:
        self.claims += 1
        self.slots.append(slots)
        self.asked.append(take_suspect)
        self._on_claim()
        return [claimed(ROW if self.claims == 1 else Fence(f"t{self.claims}", 1))]


def turn(executor: Executor, held: Held, lease: Lease, consumer: OneTask) -> None:
    dispatcher = Dispatcher(executor, held, lease, lambda _deliveries: None)
    dispatcher._consumers = [consumer]
    dispatcher._turn()


def test_with_a_stale_lease_nothing_is_claimed(
    executor: Executor, held: Held, lease: Lease
) -> None:
    consumer = OneTask()

    turn(executor, held, lease, consumer)
    assert consumer.claims == 0
    lease.renew(time.monotonic())
    turn(executor, held, lease, consumer)
    assert (consumer.claims, held.fences()) == (1, {ROW})


def test_what_was_claimed_too_late_is_not_started(
    executor: Executor, held: Held, lease: Lease
) -> None:
    lease.renew(time.monotonic())

    turn(executor, held, lease, OneTask(on_claim=lambda: lease.renew(time.monotonic() - 8)))

    assert held.fences() == set()
    assert executor.free_slots() == 2


def test_a_cancel_request_ends_the_attempt_that_runs_here(
    heartbeat: Heartbeat, stores: Stores, executor: Executor, outcomes: list[Finished]
) -> None:
    executor.start(claimed())

    stores.claimed = {ROW: False}
    heartbeat.beat_once()
    assert outcomes == []
    stores.claimed = {ROW: True}
    heartbeat.beat_once()
    heartbeat.beat_once()

    assert [done.outcome for done in outcomes] == [Stopped()]


def test_a_worker_that_was_taken_for_dead_stops_what_it_runs(
    heartbeat: Heartbeat, stores: Stores, executor: Executor, outcomes: list[Finished]
) -> None:
    heartbeat.beat_once()
    executor.start(claimed())

    stores.buried = True
    heartbeat.beat_once()
    heartbeat.beat_once()

    assert [type(done.outcome) for done in outcomes] == [Released]
    assert len(set(stores.registered)) == 2
    assert stores.published == ["all", "missing"]


def test_all_free_slots_are_asked_for_at_once(executor: Executor, held: Held, lease: Lease) -> None:
    lease.renew(time.monotonic())
    consumer = OneTask()

    turn(executor, held, lease, consumer)
    turn(executor, held, lease, consumer)

    assert consumer.slots == [2, 1]


def test_one_consumers_trouble_is_not_anothers(
    executor: Executor, held: Held, lease: Lease
) -> None:
    lease.renew(time.monotonic())

    def fail() -> None:
        raise OperationalError("SELECT", {}, Exception(3024, "took too long"))

    broken, healthy = OneTask(on_claim=fail), OneTask()
    dispatcher = Dispatcher(executor, held, lease, lambda _deliveries: None)
    dispatcher._consumers = [broken, healthy]

    with pytest.raises(OperationalError):
        dispatcher._turn()

    assert (broken.claims, healthy.claims) == (1, 1)


def test_a_beat_that_comes_after_the_sign_off_registers_nobody(
    heartbeat: Heartbeat, stores: Stores
) -> None:
    heartbeat.beat_once()

    heartbeat._stop.set()
    stores.buried = True
    heartbeat.beat_once()

    assert len(stores.registered) == 1


def test_a_suspect_is_held_alone_until_its_outcome_is_committed(
    executor: Executor, held: Held, lease: Lease
) -> None:
    lease.renew(time.monotonic())
    consumer = OneTask()
    suspect = claimed(Fence("suspect", 1)).attempt._replace(suspect=True)

    held.add([suspect])
    turn(executor, held, lease, consumer)
    held.let_go([suspect.fence])
    turn(executor, held, lease, consumer)

    assert consumer.asked == [False, True]
