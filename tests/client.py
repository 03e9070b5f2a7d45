"""The system as a client sees it, and as somebody who looks into its tables."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import create_engine, text

from tests.local.servers import wait_until

FINAL = {"COMPLETED", "FAILED", "CANCELLED"}


class Client:
    """Submits and follows tasks over HTTP."""

    def __init__(self, url: str) -> None:
        self._http = httpx2.Client(base_url=url, timeout=10)

    def submit(self, title: str = "A task", **metadata: Any) -> str:
        """Submit a task; the keywords are its metadata. It must be taken."""
        body = {"title": title, "description": "For a test", "metadata": metadata}
        response = self._http.post("/api/tasks", json=body)
        assert response.status_code == 202, response.text
        return str(response.json()["task_id"])

    def post(self, **fields: Any) -> httpx2.Response:
        """Submit a task in which the keywords replace a field each, whatever the answer."""
        body = {"title": "A task", "description": "For a test", **fields}
        return self._http.post("/api/tasks", json=body)

    def run(self, type_: str, metadata: Any = None, **fields: Any) -> str:
        """Submit a task of a type; it must be taken."""
        response = self.post(type=type_, metadata=metadata, **fields)
        assert response.status_code == 202, response.text
        return str(response.json()["task_id"])

    def cancel(self, task_id: str) -> httpx2.Response:
        return self._http.post(f"/api/tasks/{task_id}/cancel")

    def retry(self, task_id: str) -> httpx2.Response:
        return self._http.post(f"/api/tasks/{task_id}/retry")

    def delete(self, task_id: str) -> None:
        response = self._http.delete(f"/api/tasks/{task_id}")
        assert response.status_code == 204, response.text

    def submit_batch(self, tasks: list[dict[str, Any]]) -> list[str]:
        response = self._http.post("/api/tasks/batch", json={"tasks": tasks})
        assert response.status_code == 202, response.text
        ids: list[str] = response.json()["task_ids"]
        return ids

    def act(self, **wanted: Any) -> dict[str, Any]:
        """Act on many tasks at once."""
        response = self._http.post("/api/tasks/actions", json=wanted)
        assert response.status_code == 200, response.text
        result: dict[str, Any] = response.json()
        return result

    def request(self, method: str, path: str, **more: Any) -> httpx2.Response:
        return self._http.request(method, path, timeout=70, **more)

    def look(self, path: str, **query: Any) -> Any:
        """Return what is under a path of the API."""
        response = self._http.get(f"/api/{path}", params=query)
        assert response.status_code == 200, response.text
        return response.json()

    def simulate(self, seconds: float = 0.0, **simulate: Any) -> str:
        return self.submit(simulate={"seconds": seconds, **simulate})

    def get(self, task_id: str) -> dict[str, Any]:
        response = self._http.get(f"/api/tasks/{task_id}")
        assert response.status_code == 200, response.text
        task: dict[str, Any] = response.json()
        return task

    def wait_for(self, task_id: str, *statuses: str, seconds: float = 30) -> dict[str, Any]:
        """Wait until the task has one of the statuses, by default a final one; return it."""
        wanted = set(statuses) or FINAL
        seen: dict[str, Any] = {}

        def there() -> bool:
            seen.update(self.get(task_id))
            return seen["status"] in wanted

        wait_until(there, seconds, f"{task_id} to be {' or '.join(sorted(wanted))}")
        return seen

    def wait_for_all(self, task_ids: Iterable[str], seconds: float = 30) -> Counter[str]:
        """Wait until all are final; count the statuses."""
        return Counter(self.wait_for(task_id, seconds=seconds)["status"] for task_id in task_ids)

    def ready(self) -> Mapping[str, str]:
        answer: dict[str, str] = self._http.get("/health/ready").json()
        return answer

    def close(self) -> None:
        self._http.close()


class Tables:
    """The rows behind the API, for what it does not show yet."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)

    def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        with self._engine.connect() as connection:
            found = connection.execute(text(statement), parameters).mappings()
            return [dict(row) for row in found]

    def write(self, statement: str, **parameters: Any) -> None:
        with self._engine.connect() as connection:
            connection.execute(text(statement), parameters)

    def ledger(self, task_id: str) -> list[tuple[int, str]]:
        """Return attempt and outcome of every attempt that did not succeed."""
        query = "SELECT attempt, outcome FROM attempts WHERE task_id = :id ORDER BY attempt"
        return [(row["attempt"], row["outcome"]) for row in self.rows(query, id=task_id)]

    def attempts(self, task_id: str) -> list[dict[str, Any]]:
        query = "SELECT * FROM attempts WHERE task_id = :id ORDER BY attempt"
        return self.rows(query, id=task_id)

    def types(self) -> set[str]:
        return {row["name"] for row in self.rows("SELECT name FROM task_types")}

    def outbox(self) -> list[str]:
        return [row["task_id"] for row in self.rows("SELECT task_id FROM outbox")]

    def workers(self) -> list[str]:
        return [row["id"] for row in self.rows("SELECT id FROM workers")]

    def close(self) -> None:
        self._engine.dispose()


class WorkLog:
    """What simulated work wrote down of itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def count(self, what: str, task_id: str) -> int:
        """Count the times that a task was started, or done."""
        if not self.path.exists():
            return 0
        lines = (line.split("\t") for line in self.path.read_text().splitlines())
        return sum(line[0] == task_id and line[1] == what for line in lines)

    def runner(self, task_id: str) -> int:
        """Return the pid of the worker that started the task last."""
        lines = [line.split("\t") for line in self.path.read_text().splitlines()]
        return int([line[2] for line in lines if line[:2] == [task_id, "start"]][-1])

    def wait_for_start(self, task_id: str, times: int = 1, seconds: float = 30) -> None:
        wait_until(
            lambda: self.count("start", task_id) >= times, seconds, f"start {times} of {task_id}"
        )
