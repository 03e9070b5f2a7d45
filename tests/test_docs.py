"""What the documents tell to paste, pasted."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2

from tests.client import Client
from tests.conftest import System
from tests.local.dev import RESTART_SECONDS
from tests.local.servers import free_port, wait_until
from tests.local.services import ROOT


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_tour_through_handlers_works_as_it_is_pasted(system: System, tmp_path: Path) -> None:
    folder = tmp_path / "path" / "handlers"
    folder.mkdir(parents=True)
    (folder / "invoices.py").write_text(blocks("docs/handlers.md", "python")[0])
    [tour] = [block for block in blocks("docs/handlers.md", "sh") if block.startswith("API=")]
    system.stack.start_worker(
        PYTHONPATH=str(folder.parent),
        HANDLER_MODULES="handlers.invoices,handlers.examples",
        LEASE_SECONDS="15",
    )
    wait_until(lambda: "send_invoice" in system.tables.types(), 20, "the type to be known")

    ended = subprocess.run(
        ["sh", "-e", "-c", tour.replace("http://localhost:8000", system.stack.url)],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ended.returncode == 0, ended.stderr
    found = re.findall(r'"status": ?"?(\w+)', ended.stdout)
    expected = ["COMPLETED", "400", "400", "COMPLETED", "FAILED", "PROCESSING", "CANCELLED"]
    assert found == [*expected, "FAILED"], ended.stdout
    assert "did you mean 'send_invoice'?" in ended.stdout
    assert "metadata.customer" in ended.stdout
    assert re.search(r'"progress_note":"page \d+ of 200"', ended.stdout)
    assert "timeout: the attempt took longer than 1 s" in ended.stdout


def test_the_tour_through_the_api_works_as_it_is_pasted(system: System) -> None:
    system.stack.start_worker(LEASE_SECONDS="15")
    [tour] = [block for block in blocks("docs/api.md", "sh") if block.startswith("API=")]

    ended = subprocess.run(
        ["sh", "-e", "-c", tour.replace("http://localhost:8000", system.stack.url)],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ended.returncode == 0, ended.stderr
    answers = [int(status) for status in re.findall(r"HTTP/1.1 (\d+)", ended.stdout)]
    assert answers == [202, 202, 422, 200, 304, 202, 200, 202, 204, 404], ended.stdout
    assert ended.stdout.lower().count("idempotency-replayed: true") == 1
    assert re.findall(r'"code":"(\w+)"', ended.stdout) == ["scheduled", "running"]
    assert re.findall(r'"count":2,"skipped"', ended.stdout) == ['"count":2,"skipped"'] * 3
    assert re.findall(r'"outcome":"(\w+)"', ended.stdout) == ["error", "error", "completed"]
    assert 'data: {"reason": "final"}' in ended.stdout
    assert '"searched":{"rows":' in ended.stdout


def test_dev_start_serves_a_folder_of_ones_own_and_replaces_a_dead_worker(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    # Of the same name as one of ours, which must not be found instead.
    (folder / "examples.py").write_text(
        blocks("docs/handlers.md", "python")[0].replace("time.sleep(0.2)", "time.sleep(60)")
    )
    port, log = free_port(), tmp_path / "log"
    settings = {
        "DATA_FOLDER": str(tmp_path / "data"),
        "API_PORT": str(port),
        "HANDLERS_FOLDER": str(folder),
        "HANDLER_MODULES": "handlers.examples",
        "LEASE_SECONDS": "3",
    }
    with log.open("wb") as output:
        dev = subprocess.Popen(
            [ROOT / "dev", "start"],
            env={**os.environ, **settings},
            stdout=output,
            stderr=output,
        )
    client = Client(f"http://127.0.0.1:{port}")
    try:
        wait_until(lambda: is_known(client), 40, "the type to be known")
        task_id = client.run("send_invoice", {"customer": "Ann"})
        client.wait_for(task_id, "PROCESSING")
        time.sleep(RESTART_SECONDS)
        [pid] = re.findall(r"registered .* pid=(\d+)", log.read_text())
        os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: client.get(task_id)["attempt"] == 2, 30, "another worker")
        assert "starting another" in log.read_text()
    finally:
        client.close()
        dev.send_signal(signal.SIGINT)
        assert dev.wait(60) == 130


def is_known(client: Client) -> bool:
    """Tell whether the type is in the catalogue, without leaving a task."""
    try:
        return "metadata.customer" in client.post(type="send_invoice").text
    except httpx2.HTTPError:
        return False


def test_the_test_of_the_handlers_document_passes(tmp_path: Path) -> None:
    handler, test = blocks("docs/handlers.md", "python")
    worker = tmp_path / "worker-service"
    shutil.copytree(ROOT / "worker-service", worker)
    (worker / "handlers/invoices.py").write_text(handler)
    (worker / "tests/test_invoices.py").write_text(test)

    ended = subprocess.run(
        [Path(sys.executable).parent / "pytest", "tests/test_invoices.py"],
        cwd=worker,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "1 passed" in ended.stdout, ended.stdout + ended.stderr
