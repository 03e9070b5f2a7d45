"""A client of a stream of server-sent events."""

import json
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx2


@dataclass(frozen=True)
class Event:
    name: str
    data: Any
    id: str | None


class EventStream:
    """Reads in a thread until it is closed or the server ends it."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._http = httpx2.Client(timeout=httpx2.Timeout(10, read=60))
        request = self._http.build_request("GET", url, headers=dict(headers or {}))
        self._response = self._http.send(request, stream=True)
        self.status = self._response.status_code
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._http.close()
        self._thread.join(10)

    def next(self, seconds: float = 20) -> Event | None:
        """Return the next event, or None where the stream has ended."""
        return self._events.get(timeout=seconds)

    def until_task(self, task_id: str, status: str, seconds: float = 30) -> list[Event]:
        """Return all events up to the one that tells this status of this task."""
        events: list[Event] = []
        deadline = time.monotonic() + seconds
        while True:
            event = self.next(max(deadline - time.monotonic(), 0.01))
            assert event is not None, f"the stream ended without {status}: {events}"
            events.append(event)
            task = event.data if event.name == "task" else {}
            if task.get("task_id") == task_id and task["status"] == status:
                return events

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            for line in self._response.iter_lines():
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif not line and "event" in fields:
                    data = json.loads(fields["data"])
                    self._events.put(Event(fields["event"], data, fields.get("id")))
                    fields = {}
        except (httpx2.HTTPError, httpx2.StreamError):
            pass
        finally:
            self._events.put(None)
