"""The OpenAPI description: valid, as it was agreed on, and true."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.conftest import System
from tests.local.services import ROOT

SNAPSHOT = ROOT / "docs" / "openapi.json"
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"


def described(system: System) -> dict[str, Any]:
    response = system.client.request("GET", "/openapi.json")
    description: dict[str, Any] = response.json()
    return description


def test_the_description_is_valid_and_the_one_that_was_agreed_on(system: System) -> None:
    description = described(system)

    OpenAPIV31SpecValidator(description).validate()
    written = json.dumps(description, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if not SNAPSHOT.exists():
        SNAPSHOT.write_text(written)
        raise AssertionError(f"wrote {SNAPSHOT}: read what changed, then commit it")
    assert written == SNAPSHOT.read_text(), f"if this is meant: delete {SNAPSHOT}, run it again"


def test_every_example_of_a_body_is_accepted_as_it_stands(system: System) -> None:
    schemas = described(system)["components"]["schemas"]
    bodies = {
        "/api/tasks": "SubmitTask",
        "/api/tasks/batch": "SubmitBatch",
        "/api/tasks/actions": "BulkAction",
    }

    for path, name in bodies.items():
        for example in schemas[name]["examples"]:
            response = system.client.request("POST", path, json=example)
            assert response.status_code in (200, 202), response.text


def test_a_thousand_requests_find_nothing_that_is_not_described(
    system: System, tmp_path: Path
) -> None:
    system.stack.start_worker()
    (tmp_path / "schemathesis.toml").write_bytes((ROOT / "tests/schemathesis.toml").read_bytes())

    # Without the streams, which have no end.
    ended = subprocess.run(
        [
            SCHEMATHESIS,
            *("run", f"{system.stack.url}/openapi.json"),
            *("--exclude-path-regex", "events$", "--generation-deterministic"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "40"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )

    report = ended.stdout[-8000:]
    assert ended.returncode == 0, report
    counted = re.search(r"(\d+) generated, (\d+) passed", report)
    assert counted, report
    assert int(counted[1]) >= 1000
    assert counted[1] == counted[2]
    assert all("request broke" not in service.output() for service in system.stack.services)
