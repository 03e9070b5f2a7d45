"""The statements of the worker on every database."""

import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import POLICY, Bench, workers
from sqlalchemy import Connection, delete, select
from statements import plans_of, statements_of

from src.contract import Status
from src.decision import Counts, Decision, decide, release
from src.kept import Kept
from src.outcome import Failure, Progress, Success
from src.store.attempts import Fence
from src.store.candidates import lock_named
from src.store.leases import LeaseLost, Load
from src.store.settle import LOCK_FOR_SETTLING
from src.store.tables import ATTEMPTS, OUTBOX, TASK_TYPES, TASKS
from src.store.tasks import TaskStore, _hold_lease

COMPLETE = decide(Success({"n": 1}), Counts(0, 0), POLICY, 0)
RETRY = decide(Failure("boo", "trace"), Counts(0, 0), POLICY, 0)
RELEASE = release("stop")

# --- claim ----------------------------------------------------------------------------------------


def claim(bench: Bench, *ids: str, take_suspect: bool = True) -> set[str]:
    claimed = bench.tasks.claim(bench.worker_id, ids, take_suspect=take_suspect)
    return {attempt.fence.task_id for attempt in claimed.attempts}


def test_a_claim_makes_the_task_processing_and_counts_the_attempt(bench: Bench) -> None:
    task_id = bench.add(attempt=4, details={"n": 1})

    [attempt] = bench.tasks.claim(bench.worker_id, [task_id], take_suspect=True).attempts

    row = bench.task(task_id)
    assert attempt.fence == (task_id, 5)
    assert attempt.details == {"n": 1}
    assert (row.status, row.attempt, row.worker_id) == ("PROCESSING", 5, bench.worker_id)
    assert row.started_at is not None


def test_a_claim_takes_from_a_list_what_is_to_be_run(bench: Bench) -> None:
    wanted = [bench.add() for _ in range(3)]
    unwanted = [
        bench.running(),
        bench.add(status=Status.COMPLETED),
        bench.add(status=Status.CANCELLED),
        bench.add(due_in_seconds=60),
        bench.add(type="other"),
    ]

    assert claim(bench, *wanted, *unwanted, wanted[0]) == set(wanted)


def test_a_claim_tells_what_is_missing_from_what_is_settled(bench: Bench) -> None:
    settled, gone = bench.add(status=Status.COMPLETED), str(uuid.uuid4())

    claimed = bench.tasks.claim(bench.worker_id, [settled, gone], take_suspect=True)

    assert claimed.missing == {gone}


def test_a_worker_that_was_buried_claims_nothing(bench: Bench) -> None:
    task_id = bench.add()

    with pytest.raises(LeaseLost):
        bench.tasks.claim("buried", [task_id], take_suspect=True)

    assert bench.task(task_id).status == "PENDING"


def test_of_suspects_one_at_a_time_is_claimed(bench: Bench) -> None:
    suspects = [bench.add(crashes=1) for _ in range(3)]
    innocent = bench.add()

    assert claim(bench, *suspects, innocent, take_suspect=False) == {innocent}
    assert len(claim(bench, *suspects)) == 1


# --- the poller's claim ---------------------------------------------------------------------------


def poll(bench: Bench, limit: int = 9, overdue: float = 10, *, suspect: bool = True) -> list[str]:
    attempts = bench.tasks.claim_overdue(bench.worker_id, limit, overdue, take_suspect=suspect)
    return [attempt.fence.task_id for attempt in attempts]


def test_a_poll_takes_the_overdue_high_before_low_and_oldest_first(bench: Bench) -> None:
    low_old = bench.add(priority=2, due_in_seconds=-90)
    normal_new = bench.add(priority=1, due_in_seconds=-20)
    normal_old = bench.add(priority=1, due_in_seconds=-80)
    high = bench.add(priority=0, due_in_seconds=-11)
    bench.add(priority=0, due_in_seconds=-5)
    bench.add(type="other")
    bench.running()

    assert poll(bench, limit=3) == [high, normal_old, normal_new]
    assert poll(bench) == [low_old]
    assert poll(bench) == []


def test_a_poll_takes_the_promise_back(bench: Bench) -> None:
    bench.add(outbox=True)
    later = bench.add(outbox=True, due_in_seconds=60)

    poll(bench)

    assert [row.task_id for row in bench.rows(OUTBOX)] == [later]


def test_a_poll_takes_one_suspect_and_all_the_innocent(bench: Bench) -> None:
    suspects = [bench.add(crashes=1, due_in_seconds=-90 - n) for n in range(3)]
    innocent = {bench.add() for _ in range(2)}

    first = poll(bench)

    assert len(set(first) & set(suspects)) == 1
    assert set(first) - set(suspects) == innocent
    assert poll(bench, suspect=False) == []


def test_suspects_that_must_wait_are_not_in_the_way_of_the_innocent(bench: Bench) -> None:
    suspects = [bench.add(crashes=1, due_in_seconds=-90 - n) for n in range(12)]
    innocent = {bench.add() for _ in range(3)}

    taken = poll(bench, limit=4)

    assert set(taken) - set(suspects) == innocent
    assert len(taken) == 4
    assert poll(bench, limit=4, suspect=False) == []


def test_tasks_with_processes_of_their_own_endanger_nobody_and_are_no_suspects(
    bench: Bench,
) -> None:
    kept = Kept(bench.engine, stale_seconds=60)
    store = TaskStore(kept, ["simulate", "primes"], use_outbox=True, isolated=["primes"])
    bench.add(crashes=1)
    isolated = {bench.add(type="primes", crashes=1) for _ in range(3)}
    more = [bench.add(type="primes", crashes=2) for _ in range(2)]

    polled = store.claim_overdue(bench.worker_id, 3, 0, take_suspect=False)
    by_id = store.claim(bench.worker_id, [*isolated, *more], take_suspect=False).attempts

    taken = [*polled, *by_id]
    assert {attempt.fence.task_id for attempt in taken} == isolated | set(more)
    assert not any(attempt.suspect for attempt in taken)


# --- settle ---------------------------------------------------------------------------------------


def finish(bench: Bench, task_id: str, decision: Decision, number: int = 1) -> bool:
    return bool(bench.tasks.finish({Fence(task_id, number): decision}))


def test_a_success_completes_the_task_and_keeps_no_ledger(bench: Bench) -> None:
    task_id = bench.running(error="an earlier one")

    assert finish(bench, task_id, COMPLETE)

    row = bench.task(task_id)
    assert (row.status, row.result, row.error) == ("COMPLETED", {"n": 1}, None)
    assert row.completed_at is not None
    assert bench.rows(ATTEMPTS) == []
    assert bench.rows(OUTBOX) == []


def test_a_retry_is_due_after_its_backoff_in_task_and_outbox_alike(bench: Bench) -> None:
    task_id = bench.running()

    finish(bench, task_id, RETRY)

    row, [promise], [entry] = bench.task(task_id), bench.rows(OUTBOX), bench.rows(ATTEMPTS)
    assert (row.status, row.errors, row.error, row.worker_id) == ("PENDING", 1, "boo", None)
    assert timedelta(seconds=1) < row.run_at - bench.now() <= timedelta(seconds=2)
    assert (promise.task_id, promise.due_at, promise.handed) == (task_id, row.run_at, False)
    assert (entry.attempt, entry.outcome, entry.traceback) == (1, "error", "trace")


def test_what_is_given_back_is_due_as_it_was_in_task_and_outbox_alike(bench: Bench) -> None:
    task_id = bench.running()
    due = bench.task(task_id).run_at

    finish(bench, task_id, RELEASE)

    [promise] = bench.rows(OUTBOX)
    assert (bench.task(task_id).run_at, promise.due_at) == (due, due)


def test_a_promise_that_is_still_there_is_written_over_and_no_longer_handed(bench: Bench) -> None:
    task_id = bench.running(outbox=True)

    finish(bench, task_id, RETRY)

    [promise] = bench.rows(OUTBOX)
    assert (promise.due_at, promise.handed) == (bench.task(task_id).run_at, False)


@pytest.mark.parametrize("decision", [COMPLETE, RETRY, RELEASE])
@pytest.mark.parametrize(
    "now_it_is",
    [
        {"attempt": 2},
        {"status": "PENDING"},
        {"status": "COMPLETED"},
        {"status": "CANCELLED"},
    ],
)
def test_a_stale_attempt_changes_nothing(
    bench: Bench, decision: Decision, now_it_is: dict[str, object]
) -> None:
    task_id = bench.running()
    bench.change(task_id, **now_it_is)
    before = bench.task(task_id)

    assert not finish(bench, task_id, decision)

    assert bench.task(task_id) == before
    assert bench.rows(ATTEMPTS) == []
    assert bench.rows(OUTBOX) == []


def test_a_stale_attempt_in_a_batch_leaves_the_others_alone(bench: Bench) -> None:
    stale, current = bench.running(attempt=2), bench.running()

    settled = bench.tasks.finish({Fence(stale, 1): COMPLETE, Fence(current, 1): COMPLETE})

    assert set(settled) == {Fence(current, 1)}
    assert bench.task(stale).status == "PROCESSING"


def test_of_two_attempts_of_a_task_in_a_batch_the_current_one_counts(bench: Bench) -> None:
    task_id = bench.running(attempt=2)

    settled = bench.tasks.finish({Fence(task_id, 2): COMPLETE, Fence(task_id, 1): RETRY})

    assert set(settled) == {Fence(task_id, 2)}
    assert bench.task(task_id).status == "COMPLETED"


@pytest.mark.parametrize(
    ("decision", "status"),
    [(COMPLETE, "COMPLETED"), (RETRY, "CANCELLED"), (RELEASE, "CANCELLED")],
)
def test_every_way_out_looks_at_the_cancel_flag(
    bench: Bench, decision: Decision, status: str
) -> None:
    task_id = bench.running(cancel_requested=True)

    finish(bench, task_id, decision)

    assert bench.task(task_id).status == status
    assert bench.rows(OUTBOX) == []


def test_a_batch_settles_every_kind_at_once(bench: Bench) -> None:
    ids = [bench.running() for _ in range(3)]

    bench.tasks.finish(
        dict(zip([Fence(i, 1) for i in ids], [COMPLETE, RETRY, RELEASE], strict=True))
    )

    assert [bench.task(i).status for i in ids] == ["COMPLETED", "PENDING", "PENDING"]
    assert [bench.task(i).errors for i in ids] == [0, 1, 0]
    assert len(bench.rows(OUTBOX)) == 2


def test_the_last_progress_is_written_with_the_outcome(bench: Bench) -> None:
    told, silent = bench.running(), bench.running(progress=30, progress_note="before")

    bench.tasks.finish(
        {Fence(told, 1): COMPLETE, Fence(silent, 1): RETRY}, {Fence(told, 1): Progress(90, "end")}
    )

    assert (bench.task(told).progress, bench.task(told).progress_note) == (90, "end")
    assert (bench.task(silent).progress, bench.task(silent).progress_note) == (30, "before")


def test_progress_is_written_for_the_current_attempt_alone(bench: Bench) -> None:
    current, moved_on, over = bench.running(), bench.running(attempt=2), bench.add()

    bench.tasks.write_progress(
        {Fence(id_, 1): Progress(50, "half") for id_ in (current, moved_on, over)}
    )

    assert bench.task(current).progress == 50
    assert bench.task(moved_on).progress is None
    assert bench.task(over).progress is None


def test_a_claim_begins_without_progress_and_brings_the_tasks_own_limits(bench: Bench) -> None:
    task_id = bench.add(progress=70, progress_note="old", max_attempts=7, timeout_seconds=9)

    [attempt] = bench.tasks.claim(bench.worker_id, [task_id], take_suspect=True).attempts

    assert (bench.task(task_id).progress, bench.task(task_id).progress_note) == (None, None)
    assert (attempt.counts.max_attempts, attempt.timeout_seconds) == (7, 9)


# --- many successes at once -----------------------------------------------------------------------


def successes(bench: Bench, *results: Any) -> dict[Fence, Decision]:
    return {
        Fence(bench.running(), 1): decide(Success(result), Counts(0, 0), POLICY, 0)
        for result in results
    }


def test_each_success_keeps_its_own_result(bench: Bench) -> None:
    results = [{"n": 1}, {"n": True}, {"n": 1.5}, None, "é'\\\"%s", [], {"n": 1}, 2**62, False]
    decisions = successes(bench, *results)
    before = bench.now()

    settled = bench.tasks.finish(decisions)

    assert settled == dict.fromkeys(decisions, Status.COMPLETED)
    rows = [bench.task(fence.task_id) for fence in decisions]
    assert [repr(row.result) for row in rows] == [repr(result) for result in results]
    assert all(row.completed_at == row.updated_at >= before for row in rows)


def test_what_is_equal_to_python_only_is_told_apart(bench: Bench) -> None:
    decisions = successes(bench, 1, True)

    bench.tasks.finish(decisions)

    assert [repr(bench.task(f.task_id).result) for f in decisions] == ["1", "True"]


def test_the_statements_own_times_are_written_like_all_others(bench: Bench) -> None:
    [fence] = decisions = successes(bench, 1)
    bench.tasks.finish(decisions)
    row = bench.task(fence.task_id)

    with bench.engine.begin() as connection:
        found = connection.scalar(select(TASKS.c.id).where(TASKS.c.updated_at == row.updated_at))

    assert found == fence.task_id


@pytest.mark.parametrize("results", [[{"n": 1}] * 40, [{"n": n} for n in range(40)]])
def test_successes_are_one_statement(bench: Bench, results: list[Any]) -> None:
    decisions = successes(bench, *results)

    with statements_of(bench.engine) as seen:
        bench.tasks.finish(decisions)

    assert len(seen) == 1


def test_large_results_fit_into_statements_of_their_own(bench: Bench) -> None:
    decisions = successes(bench, *[str(n) * 60_000 for n in range(40)])

    with statements_of(bench.engine) as seen:
        bench.tasks.finish(decisions)

    assert 1 < len(seen) < 10
    assert all(bench.task(f.task_id).result == d.result for f, d in decisions.items())


def test_successes_of_later_attempts_are_told_apart(bench: Bench) -> None:
    first, third, stale = bench.running(), bench.running(attempt=3), bench.running(attempt=2)

    settled = bench.tasks.finish(dict.fromkeys([Fence(first, 1), Fence(third, 3)], COMPLETE))
    mixed_up = bench.tasks.finish({Fence(stale, 3): COMPLETE})

    assert set(settled) == {Fence(first, 1), Fence(third, 3)}
    assert mixed_up == {}
    assert bench.task(stale).status == "PROCESSING"


def test_a_batch_of_every_kind_is_written_as_each_alone_would_be(bench: Bench) -> None:
    good = successes(bench, {"n": 1}, {"n": 2}, None)
    stale, over = bench.running(attempt=2), bench.add(status=Status.CANCELLED, attempt=1)
    cancelled, retried = bench.running(cancel_requested=True), bench.running()
    late = bench.running(cancel_requested=True)

    settled = bench.tasks.finish(
        {
            **good,
            Fence(stale, 1): COMPLETE,
            Fence(over, 1): COMPLETE,
            Fence(cancelled, 1): RETRY,
            Fence(retried, 1): RETRY,
            Fence(late, 1): COMPLETE,
        },
        {Fence(late, 1): Progress(100, "all")},
    )

    assert settled == {
        **dict.fromkeys(good, Status.COMPLETED),
        Fence(cancelled, 1): Status.CANCELLED,
        Fence(retried, 1): Status.PENDING,
        Fence(late, 1): Status.COMPLETED,
    }
    assert [bench.task(f.task_id).result for f in good] == [{"n": 1}, {"n": 2}, None]
    assert (bench.task(stale).status, bench.task(over).status) == ("PROCESSING", "CANCELLED")
    assert bench.task(late).progress == 100
    assert [row.task_id for row in bench.rows(OUTBOX)] == [retried]
    assert {row.task_id for row in bench.rows(ATTEMPTS)} == {cancelled, retried}


def test_a_stale_success_leaves_the_others_of_its_batch_alone(bench: Bench) -> None:
    good = successes(bench, {"n": 1}, {"n": 2})
    stale = bench.running(attempt=2)

    settled = bench.tasks.finish({Fence(stale, 1): COMPLETE, **good})

    assert settled == dict.fromkeys(good, Status.COMPLETED)
    assert [bench.task(f.task_id).result for f in good] == [{"n": 1}, {"n": 2}]
    assert bench.task(stale).status == "PROCESSING"


# --- leases ---------------------------------------------------------------------------------------


def test_a_start_overwrites_the_types_and_a_new_beginning_only_fills_up(bench: Bench) -> None:
    entry = {"description": None, "payload_schema": None, "max_attempts": 3, "timeout_seconds": 9}
    bench.leases.publish_types([{"name": name, **entry} for name in ("a", "b")], overwrite=True)

    newer = {**entry, "name": "b", "payload_schema": {"type": "object"}}
    bench.leases.publish_types([newer], overwrite=True)
    # A worker of an older release starts over, and one type was deleted meanwhile.
    with bench.engine.begin() as connection:
        connection.execute(delete(TASK_TYPES).where(TASK_TYPES.c.name == "a"))
    older = [{"name": name, **entry} for name in ("a", "b")]
    bench.leases.publish_types(older, overwrite=False)

    found = {row.name: row.payload_schema for row in bench.rows(TASK_TYPES)}
    assert found == {"a": None, "b": {"type": "object"}}


def test_a_beat_grows_and_tells_of_claims_and_cancels(bench: Bench) -> None:
    task_id = bench.running(cancel_requested=True)
    bench.running(worker_id="another")

    beats = [bench.leases.beat(bench.worker_id, Load(1, 2, 3)) for _ in range(2)]

    assert [beat.beats[bench.worker_id] for beat in beats if beat] == [1, 2]
    assert beats[0] is not None
    assert beats[0].claimed == {Fence(task_id, 1): True}


def test_who_was_buried_is_told_with_the_next_beat(bench: Bench) -> None:
    bench.leases.bury(bench.worker_id, 0)

    assert bench.leases.beat(bench.worker_id, Load(0, 0, 0)) is None


def test_a_burial_takes_the_tasks_away(bench: Bench) -> None:
    dead = bench.register("dead")
    once, thrice = bench.running(worker_id=dead), bench.running(worker_id=dead, crashes=2)
    cancelled = bench.running(worker_id=dead, cancel_requested=True)
    mine = bench.running()

    bench.leases.bury(dead, 0)

    assert (bench.task(once).status, bench.task(once).crashes) == ("PENDING", 1)
    assert (bench.task(thrice).status, bench.task(thrice).crashes) == ("FAILED", 3)
    assert bench.task(cancelled).status == "CANCELLED"
    assert bench.task(mine).status == "PROCESSING"
    assert [row.task_id for row in bench.rows(OUTBOX)] == [once]
    assert workers(bench) == {bench.worker_id}


def test_who_gave_a_sign_of_life_meanwhile_is_not_buried(bench: Bench) -> None:
    alive = bench.register("alive")
    task_id = bench.running(worker_id=alive)
    bench.leases.beat(alive, Load(0, 0, 0))

    assert bench.leases.bury(alive, 0) is None

    assert bench.task(task_id).status == "PROCESSING"
    assert alive in workers(bench)


def test_what_belongs_to_nobody_is_taken_away(bench: Bench) -> None:
    orphan, mine = bench.running(worker_id="gone"), bench.running()

    taken = bench.leases.take_orphans()

    assert set(taken) == {Fence(orphan, 1)}
    assert bench.task(orphan).crashes == 1
    assert bench.task(mine).status == "PROCESSING"


# --- locks ----------------------------------------------------------------------------------------


@pytest.mark.real_server
def test_a_claim_waits_for_no_strangers_row(bench: Bench) -> None:
    # Most rows of a small table: there the optimizer would rather scan it.
    mine = [bench.add() for _ in range(5)]
    strangers = bench.add(id="ffffffff-0000-4000-8000-000000000000")

    with bench.engine.begin() as other:
        other.execute(LOCK_FOR_SETTLING, {"task_ids": [strangers]}).all()

        assert claim(bench, *mine) == set(mine)
        assert bench.tasks.finish({Fence(task_id, 1): RETRY for task_id in mine})


@pytest.mark.real_server
def test_successes_wait_for_no_strangers_row(bench: Bench) -> None:
    decisions = successes(bench, *range(5))
    strangers = bench.running(id="ffffffff-0000-4000-8000-000000000000")

    with bench.engine.begin() as other:
        other.execute(LOCK_FOR_SETTLING, {"task_ids": [strangers]}).all()

        assert bench.tasks.finish(decisions)


@pytest.mark.real_server
def test_claims_and_outcomes_go_by_the_primary_key(bench: Bench) -> None:
    ids = [bench.add() for _ in range(5)]

    with plans_of(bench.engine, "tasks") as plans:
        claim(bench, *ids)
        bench.tasks.finish(dict.fromkeys([Fence(i, 1) for i in ids], COMPLETE))

    by_table = [(plan["table"], plan["key"], plan["type"]) for plan in plans]
    assert by_table == [("workers", "PRIMARY", "const")] + [("tasks", "PRIMARY", "range")] * 3


@pytest.mark.real_server
def test_a_poll_passes_over_locked_rows_and_waits_for_no_promise(bench: Bench) -> None:
    locked, free = bench.add(outbox=True), bench.add(outbox=True)

    with bench.engine.begin() as other:
        other.execute(LOCK_FOR_SETTLING, {"task_ids": [locked]}).all()
        other.execute(select(OUTBOX).where(OUTBOX.c.task_id == locked).with_for_update()).all()

        assert poll(bench) == [free]


def hold_for_poll(connection: Connection, bench: Bench, _task_id: str) -> None:
    _hold_lease(connection, bench.worker_id)


def hold_for_claim(connection: Connection, bench: Bench, task_id: str) -> None:
    lock_named(connection, bench.worker_id, [task_id])


@pytest.mark.real_server
@pytest.mark.parametrize("hold", [hold_for_poll, hold_for_claim])
def test_a_burial_waits_for_a_claim_that_is_under_way(
    bench: Bench, hold: Callable[[Connection, Bench, str], None]
) -> None:
    task_id = bench.add()
    claimed, committed = threading.Event(), threading.Event()
    buried: list[int] = []

    def bury() -> None:
        claimed.wait(5)
        buried.append(len(bench.leases.bury(bench.worker_id, 0) or ()))

    thread = threading.Thread(target=bury)
    thread.start()
    with bench.engine.begin() as connection:
        hold(connection, bench, task_id)
        connection.execute(
            TASKS.update()
            .where(TASKS.c.id == task_id)
            .values(status="PROCESSING", attempt=1, worker_id=bench.worker_id)
        )
        claimed.set()
        committed.wait(0.5)
        assert buried == []
    thread.join(5)

    assert buried == [1]
    assert bench.task(task_id).crashes == 1


@pytest.mark.real_server
def test_a_poll_is_ordered_by_the_index_without_a_sort(bench: Bench) -> None:
    for _ in range(200):
        bench.add()

    with plans_of(bench.engine, "SKIP LOCKED") as plans:
        poll(bench, limit=20)

    assert plans
    assert all(plan["key"] == "tasks_due" for plan in plans)
    assert all("filesort" not in str(plan["Extra"]) for plan in plans)
