"""Streams: first what is, then every change, in order, and nothing left out at the end."""

from pathlib import Path

from tests.conftest import System
from tests.local.servers import wait_until
from tests.streams import EventStream


def all_events(system: System, last_event_id: str | None = None) -> EventStream:
    headers = {"Last-Event-ID": last_event_id} if last_event_id else None
    return EventStream(f"{system.stack.url}/api/events", headers)


def task_events(system: System, task_id: str) -> EventStream:
    return EventStream(f"{system.stack.url}/api/tasks/{task_id}/events")


def test_a_task_is_followed_from_what_it_is_to_its_end(system: System, tmp_path: Path) -> None:
    system.start_worker()
    go = tmp_path / "go"
    task_id = system.client.run("steps", {"file": str(go)})
    wait_until(lambda: system.client.get(task_id)["progress"] == 40, 20, "progress")

    with task_events(system, task_id) as stream:
        first = stream.next()
        go.touch()
        rest = [first, *stream.until_task(task_id, "COMPLETED")]
        end, nothing = stream.next(), stream.next()

    assert first is not None
    assert (first.data["status"], first.data["progress"]) == ("PROCESSING", 40)
    assert first.data["metadata"] == {"file": str(go)}
    assert end is not None
    assert (end.name, end.data, nothing) == ("end", {"reason": "final"}, None)
    assert rest[-1] is not None
    assert rest[-1].data == system.client.get(task_id)


def test_the_stream_of_a_finished_task_tells_it_and_ends(system: System) -> None:
    task_id = system.client.submit()
    system.client.cancel(task_id)

    with task_events(system, task_id) as stream:
        events = [stream.next(), stream.next(), stream.next()]

    assert [event and event.name for event in events] == ["task", "end", None]


def test_the_stream_of_a_deleted_task_ends(system: System) -> None:
    task_id = system.client.submit()

    with task_events(system, task_id) as stream:
        assert stream.next() is not None
        system.client.delete(task_id)
        end = stream.next()

    assert end is not None
    assert end.data == {"reason": "deleted"}


def test_an_unknown_task_has_no_stream(system: System) -> None:
    with task_events(system, "01931f6e-8a37-7c31-b1f5-3f0c2a9d7e10") as stream:
        assert stream.status == 404


def test_all_tasks_are_followed_and_none_goes_backwards(system: System) -> None:
    system.stack.start_worker()
    before = system.client.simulate()
    system.client.wait_for(before)

    with all_events(system) as stream:
        snapshot = stream.next()
        task_ids = [system.client.simulate(fail_attempts=n % 2) for n in range(20)]
        system.client.wait_for_all(task_ids)
        last: dict[str, tuple[int, int]] = {}
        done: set[str] = set()
        while done != set(task_ids):
            event = stream.next()
            assert event is not None
            task = event.data
            steps = ["PENDING", "PROCESSING", "COMPLETED"]
            # Between two attempts a task waits again.
            at = (task["attempt"] + (task["status"] == "PENDING"), steps.index(task["status"]))
            assert at >= last.get(task["task_id"], (0, 0)), task
            last[task["task_id"]] = at
            if task["status"] == "COMPLETED":
                done.add(task["task_id"])

    assert snapshot is not None
    assert [task["task_id"] for task in snapshot.data["tasks"]] == [before]


def test_a_stream_that_was_cut_off_goes_on_where_it_was(system: System) -> None:
    with all_events(system) as stream:
        assert stream.next() is not None
        first = system.client.submit()
        [*_, seen] = stream.until_task(first, "PENDING")
    missed = system.client.submit()
    system.client.cancel(missed)

    with all_events(system, seen.id) as stream:
        events = stream.until_task(missed, "CANCELLED")

    assert [event.name for event in events] == ["task"] * len(events)


def test_a_stream_that_was_cut_off_long_ago_begins_anew(system: System) -> None:
    task_id = system.client.submit()

    with all_events(system, "1000") as stream:
        first = stream.next()

    assert first is not None
    assert first.name == "snapshot"
    assert [task["task_id"] for task in first.data["tasks"]] == [task_id]


def test_no_change_is_lost_when_thousands_come_at_once(system: System) -> None:
    tasks = [{"title": f"Task {n}", "description": "One of many"} for n in range(1000)]
    task_ids = [i for _ in range(4) for i in system.client.submit_batch(tasks)]

    with all_events(system) as stream:
        assert stream.next() is not None
        result = system.client.act(action="cancel", filter={"status": ["PENDING"]})
        cancelled: set[str] = set()
        while len(cancelled) < len(task_ids):
            event = stream.next()
            assert event is not None
            if event.data["status"] == "CANCELLED":
                cancelled.add(event.data["task_id"])

    assert result["count"] == len(task_ids)
    assert cancelled == set(task_ids)


def test_streams_are_ended_when_the_api_stops(system: System) -> None:
    [api] = system.stack.services

    with all_events(system) as stream:
        assert stream.next() is not None
        api.stop()
        end, nothing = stream.next(), stream.next()

    assert end is not None
    assert (end.data, nothing) == ({"reason": "stopping"}, None)


def test_a_client_that_leaves_makes_room(system: System) -> None:
    [api] = system.stack.services
    system.client.ready()
    before = api.sockets()

    with all_events(system) as stream:
        assert stream.next() is not None
        assert api.sockets() > before

    wait_until(lambda: api.sockets() <= before, 20, "the stream to be closed")
