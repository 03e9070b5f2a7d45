"""API keys on a running system: made with ``./dev key``, kept in a file, never in a log."""

import subprocess
from pathlib import Path

from tests.client import Client
from tests.conftest import System
from tests.local.services import ROOT


def make_key(name: str, scope: str) -> tuple[str, str]:
    """Return a new key and its entry."""
    ended = subprocess.run(
        [ROOT / "dev", "key", name, scope], capture_output=True, text=True, timeout=120, check=True
    )
    key, entry = (line.split(": ")[1] for line in ended.stdout.splitlines())
    return key, entry


def test_keys_in_a_file_open_the_api_to_their_owners_alone(system: System, tmp_path: Path) -> None:
    pairs = [make_key("dashboard", "read"), make_key("shop", "submit")]
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/api_keys").write_text("\n".join(entry for _, entry in pairs))
    [api] = system.stack.services
    api.stop()
    api = system.stack.start_api(SECRETS_DIR=str(tmp_path / "secrets"))
    system.stack.start_worker()
    body = {"title": "t", "description": "d", "metadata": {"simulate": {"seconds": 0}}}
    reader, shop = ({"Authorization": f"Bearer {key}"} for key, _ in pairs)
    client: Client = system.client

    refused = [
        client.request("POST", "/api/tasks", json=body, headers=headers).status_code
        for headers in ({}, {"X-API-Key": "tq_guessed"}, reader)
    ]
    taken = client.request("POST", "/api/tasks", json=body, headers=shop)
    shown = client.request("GET", taken.headers["Location"] + "?wait=20", headers=reader).json()
    cancelled = client.request("POST", taken.headers["Location"] + "/cancel", headers=shop)

    assert refused == [401, 401, 403]
    assert taken.status_code == 202
    assert (shown["status"], shown["submitted_by"]) == ("COMPLETED", "shop")
    assert cancelled.status_code == 403
    assert client.request("GET", "/health/ready").status_code == 200
    log = api.output()
    assert "key_name=shop" in log
    assert all(key not in log and entry.split(":")[2] not in log for key, entry in pairs)
