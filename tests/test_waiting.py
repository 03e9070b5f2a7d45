"""Clients that wait for a task's end instead of asking again and again."""

import asyncio
import threading

import httpx2

from tests.conftest import System
from tests.local.servers import wait_until

WAIT = {"Prefer": "wait=20"}


def test_a_submission_may_wait_for_the_result(system: System) -> None:
    system.stack.start_worker()

    response = system.client.request(
        "POST", "/api/tasks", json={"title": "A", "description": "B"}, headers=WAIT
    )

    assert response.status_code == 200
    task = response.json()
    assert task["status"] == "COMPLETED"
    assert response.headers["Preference-Applied"] == "wait=20"
    assert response.headers["Location"] == f"/api/tasks/{task['task_id']}"
    assert "Retry-After" not in response.headers
    assert task == system.client.get(task["task_id"])


def test_a_submission_that_is_not_finished_in_time_is_accepted_as_ever(system: System) -> None:
    body = {"title": "A", "description": "B"}

    response = system.client.request("POST", "/api/tasks", json=body, params={"wait": 0.3})

    assert response.status_code == 202
    assert set(response.json()) == {"task_id", "message"}
    assert system.client.get(response.json()["task_id"])["status"] == "PENDING"


def test_a_lookup_waits_until_the_task_is_final(system: System) -> None:
    system.stack.start_worker()
    task_id = system.client.simulate(1)

    response = system.client.request("GET", f"/api/tasks/{task_id}", headers=WAIT)

    assert response.json()["status"] == "COMPLETED"
    assert response.headers["Preference-Applied"] == "wait=20"
    again = system.client.request("GET", f"/api/tasks/{task_id}", headers=WAIT)
    assert again.headers["ETag"] == response.headers["ETag"]


def test_a_lookup_that_waits_in_vain_tells_how_it_is(system: System) -> None:
    task_id = system.client.submit()

    response = system.client.request("GET", f"/api/tasks/{task_id}", params={"wait": 0.3})

    assert (response.status_code, response.json()["status"]) == (200, "PENDING")
    assert response.headers["Retry-After"] == "1"


def test_who_waits_for_a_task_that_is_deleted_is_told(system: System) -> None:
    task_id = system.client.submit()
    url = f"{system.stack.url}/api/tasks/{task_id}"
    answers: list[httpx2.Response] = []
    waiter = threading.Thread(
        target=lambda: answers.append(httpx2.get(url, params={"wait": 30}, timeout=40))
    )
    waiter.start()

    system.client.delete(task_id)

    waiter.join(10)
    assert [answer.status_code for answer in answers] == [404]


def test_hundreds_that_wait_keep_nobody_out(system: System) -> None:
    task_id = system.client.submit()
    url = f"{system.stack.url}/api/tasks/{task_id}"
    wave, waves = 100, 3

    async def wait_all() -> list[int]:
        limits = httpx2.Limits(max_connections=wave * waves)
        async with httpx2.AsyncClient(timeout=60, limits=limits) as http:
            asked: list[asyncio.Task[httpx2.Response]] = []
            plain = []
            for _ in range(waves):
                asked += [
                    asyncio.create_task(http.get(url, params={"wait": 50})) for _ in range(wave)
                ]
                plain.append(await asyncio.to_thread(ask_once_connected, len(asked)))
            system.client.cancel(task_id)
            return [*plain, *[(await answer).status_code for answer in asked]]

    def ask_once_connected(count: int) -> int:
        api = system.stack.services[0]
        wait_until(lambda: api.sockets() >= count, 30, "everybody to be connected")
        return system.client.request("GET", f"/api/tasks/{task_id}").status_code

    assert asyncio.run(wait_all()) == [200] * (wave + 1) * waves
