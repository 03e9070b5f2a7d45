"""What the documents tell to paste, pasted."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import System
from tests.local.servers import wait_until
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


def test_the_test_of_the_handlers_document_passes(tmp_path: Path) -> None:
    handler, test = blocks("docs/handlers.md", "python")
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers/invoices.py").write_text(handler)
    (tmp_path / "test_invoices.py").write_text(test)
    worker = tmp_path / "src"
    shutil.copytree(ROOT / "worker-service/src", worker)

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "1 passed" in ended.stdout, ended.stdout + ended.stderr
