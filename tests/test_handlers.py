"""Handlers of one's own in real workers: what they are given, and what comes of what they do."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import HANDLERS, System
from tests.local.servers import wait_until


def test_a_typed_handler_runs_and_its_result_is_shown(system: System) -> None:
    system.start_worker()

    task_id = system.client.run("sum", {"numbers": [1, 2, 3]}, title="Numbers", priority="high")

    task = system.client.wait_for(task_id)
    assert task["status"] == "COMPLETED"
    assert task["result"] == {"sum": 6, "seen": ["Numbers", "For a test", "sum", 1]}
    assert (task["type"], task["priority"], task["error"]) == ("sum", "high", None)
    assert task["worker"] in system.tables.workers()
    assert 0 <= task["duration_ms"] < 10_000


def test_an_async_handler_runs(system: System) -> None:
    system.start_worker()

    task = system.client.wait_for(system.client.run("add-async", {"numbers": [4, 5]}))

    assert (task["status"], task["result"]) == ("COMPLETED", 9)


def test_the_catalogue_decides_what_is_taken(system: System) -> None:
    assert system.client.post(type="sum").status_code == 400
    system.start_worker()

    assert system.client.run("sum", {"numbers": []})
    unknown = system.client.post(type="summ")
    misfit = system.client.post(type="sum", metadata={"numbers": [1, "x"]})

    assert unknown.status_code == misfit.status_code == 400
    assert "did you mean 'sum'?" in unknown.json()["detail"]
    assert misfit.json()["errors"] == [
        {"field": "metadata.numbers.1", "message": "must be of type integer"}
    ]


def test_a_type_that_no_living_worker_serves_waits_for_one(system: System) -> None:
    system.start_worker().stop()
    system.stack.start_worker()

    waiting = system.client.run("sum", {"numbers": [1]})
    assert system.client.wait_for(system.client.simulate())["status"] == "COMPLETED"
    assert system.client.get(waiting)["status"] == "PENDING"
    system.start_worker()

    assert system.client.wait_for(waiting)["status"] == "COMPLETED"


def test_a_permanent_error_fails_at_once(system: System) -> None:
    system.start_worker()

    task_id = system.client.run("sum", {"numbers": [], "fail": "permanent"})

    task = system.client.wait_for(task_id)
    assert (task["status"], task["attempt"], task["errors"]) == ("FAILED", 1, 1)
    assert task["error"] == "Permanent: never"


def test_a_handler_may_say_when_to_try_again(system: System) -> None:
    system.start_worker()

    task_id = system.client.run("sum", {"numbers": [], "fail": "later"})

    wait_until(lambda: system.client.get(task_id)["errors"] == 1, 10, "the first attempt")
    task = system.client.get(task_id)
    [first] = system.tables.attempts(task_id)
    ended = datetime.fromisoformat(str(first["finished_at"]))
    run_at = datetime.fromisoformat(task["run_at"].removesuffix("Z"))
    assert task["status"] == "PENDING"
    assert (run_at - ended).total_seconds() == pytest.approx(3600, abs=0.01)


@pytest.mark.parametrize(("own", "attempts"), [(None, 2), (1, 1), (3, 3)])
def test_the_tasks_own_number_of_attempts_goes_before_its_types(
    system: System, own: int | None, attempts: int
) -> None:
    system.start_worker()

    task_id = system.client.run("sum", {"numbers": [], "fail": "error"}, max_attempts=own)

    task = system.client.wait_for(task_id)
    assert (task["status"], task["errors"]) == ("FAILED", attempts)
    rows = system.tables.attempts(task_id)
    assert [row["outcome"] for row in rows] == ["error"] * attempts
    assert all(row["error"] == "ValueError: not like this" for row in rows)
    assert all("in add" in row["traceback"] for row in rows)
    assert all(row["started_at"] and row["worker_id"] for row in rows)


def test_a_result_that_is_too_large_is_a_clear_error(system: System) -> None:
    system.start_worker()

    task = system.client.wait_for(system.client.run("sum", {"numbers": [], "fail": "large"}))

    assert (task["status"], task["attempt"], task["result"]) == ("FAILED", 1, None)
    assert "at most 65536 are kept" in task["error"]


def test_a_payload_that_no_longer_fits_its_model_fails_for_good(system: System) -> None:
    system.start_worker().stop()
    task_id = system.client.run("sum", {"numbers": [1]})
    system.tables.write(
        "UPDATE tasks SET metadata = :new WHERE id = :id", new='{"numbers": "x"}', id=task_id
    )

    system.start_worker()

    task = system.client.wait_for(task_id)
    assert (task["status"], task["attempt"]) == ("FAILED", 1)
    assert task["error"].startswith("the payload does not fit: numbers: ")


def test_progress_is_shown_while_it_runs_and_kept_at_the_end(
    system: System, tmp_path: Path
) -> None:
    system.start_worker()
    go = tmp_path / "go"
    task_id = system.client.run("steps", {"file": str(go)})

    def shown() -> dict[str, Any]:
        task = system.client.get(task_id)
        return {name: task[name] for name in ("status", "progress", "progress_note")}

    nearly = {"status": "PROCESSING", "progress": 40, "progress_note": "nearly half"}
    wait_until(lambda: shown() == nearly, 10, "the progress")
    go.touch()
    system.client.wait_for(task_id)
    assert shown() == {"status": "COMPLETED", "progress": 90, "progress_note": "at the end"}


def test_a_new_attempt_begins_without_the_progress_of_the_last(
    system: System, tmp_path: Path
) -> None:
    system.start_worker()
    task_id = system.client.run("steps", {"file": str(tmp_path / "never")}, timeout_seconds=2)

    wait_until(lambda: system.client.get(task_id)["progress"] == 40, 10, "the progress")
    wait_until(lambda: system.client.get(task_id)["attempt"] == 2, 20, "the second attempt")

    assert system.client.get(task_id)["progress"] is None
    system.client.cancel(task_id)


def test_a_module_that_cannot_be_imported_stops_the_worker_with_one_line(
    system: System, tmp_path: Path
) -> None:
    (tmp_path / "broken_handlers.py").write_text("import no_such_library\n")
    settings = {**HANDLERS, "HANDLER_MODULES": "task_handlers,broken_handlers"}
    settings["PYTHONPATH"] += f":{tmp_path}"

    worker = system.stack.start_worker(**settings)

    assert worker.wait(20) == 1
    assert worker.output() == (
        "worker-service: HANDLER_MODULES: broken_handlers: ModuleNotFoundError: "
        "No module named 'no_such_library' (broken_handlers.py, line 1)\n"
    )


def test_a_thread_that_a_handler_left_behind_does_not_keep_the_process(system: System) -> None:
    worker = system.start_worker()
    system.client.wait_for(system.client.run("thread-leak"))

    assert worker.stop(15) == 0
