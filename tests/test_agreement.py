"""What must be the same in both services and in the schema, and who may import whom."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local.database import DatabaseServer
from tests.local.services import ROOT

SERVICES = {"api-service": "src.models.tables", "worker-service": "src.store.tables"}

#: Who may import whom: a package may use those to its right, and nothing to its left.
LAYERS = {
    "api-service": [
        "main",
        "api server",
        "services",
        "models db",
        "prepared kept contract config keys webhooks logs",
    ],
    "worker-service": [
        "main",
        "worker",
        "heartbeat dispatcher finisher progress",
        "executor",
        "overruns",
        "limits room claim_log",
        "execution held",
        "consumers",
        "rescue lease handlers store",
        "decision",
        "outcome",
        "prepared kept contract config hosts webhooks logs backoff stop watchdog pace tally",
    ],
}
#: Packages that only these parts may import.
RESERVED = {
    "api-service": {
        "fastapi": {"main", "api"},
        "pika": {"services.publisher"},
        "os.environ": {"config"},
    },
    "worker-service": {"pika": {"consumers.rabbitmq"}, "os.environ": {"config"}},
}


@pytest.mark.parametrize(
    "file", ["contract.py", "kept.py", "logs.py", "prepared.py", "webhooks.py"]
)
def test_both_services_have_the_same_file(file: str) -> None:
    api, worker = ((ROOT / name / "src" / file).read_bytes() for name in SERVICES)

    assert api == worker


# --- imports --------------------------------------------------------------------------------------


def modules(service: str) -> Iterator[tuple[str, ast.Module]]:
    source = ROOT / service / "src"
    for path in sorted(source.rglob("*.py")):
        name = ".".join(path.relative_to(source).with_suffix("").parts)
        yield name.removesuffix(".__init__"), ast.parse(path.read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and node.attr == "environ":
            yield "os.environ"


def layer(service: str, name: str) -> int:
    part = name.split(".")[0]
    found = [n for n, parts in enumerate(LAYERS[service]) if part in parts.split()]
    assert found, f"{service}/src/{part} has no place in LAYERS"
    return found[0]


@pytest.mark.parametrize("service", SERVICES)
def test_imports_go_one_way(service: str) -> None:
    broken = [
        f"{name} imports {target}"
        for name, tree in modules(service)
        if name != "__init__"
        for target in imported(tree)
        if target.startswith("src.")
        and layer(service, target.removeprefix("src.")) < layer(service, name)
    ]

    assert broken == []


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_reserved_is_imported_where_it_belongs(service: str) -> None:
    broken = [
        f"{name} imports {target}"
        for name, tree in modules(service)
        for target in imported(tree)
        for package, places in RESERVED[service].items()
        if target == package or target.startswith(f"{package}.")
        if name not in places and name.split(".")[0] not in places
    ]

    assert broken == []


def test_the_contract_uses_the_standard_library_only() -> None:
    tree = ast.parse((ROOT / "api-service/src/contract.py").read_text())

    assert {target.split(".")[0] for target in imported(tree)} <= sys.stdlib_module_names


# --- columns --------------------------------------------------------------------------------------

_DUMP = """
import json, {module} as m
from sqlalchemy.dialects import mysql
tables = (getattr(m, "SCHEMA", None) or m.Base.metadata).sorted_tables
def columns(table):
    return {{c.name: [c.type.compile(mysql.dialect()), c.nullable] for c in table.columns}}
print(json.dumps({{table.name: columns(table) for table in tables}}))
"""


def mapped(service: str) -> dict[str, dict[str, tuple[str, bool]]]:
    code = _DUMP.format(module=SERVICES[service])
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / service, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(ended.stdout)
    return {
        table: {name: (_plain(type_), nullable) for name, (type_, nullable) in columns.items()}
        for table, columns in found.items()
    }


def _plain(type_: str) -> str:
    """Spell a type without width of integers, character set and the servers' own names."""
    short = type_.lower().split(" character set")[0].split(" charset")[0].replace("'", "")
    for ours, plain in (("integer", "int"), ("bool", "tinyint"), ("json", "longtext")):
        if short == ours:
            return plain
    name, _, rest = short.partition("(")
    return name if name in ("int", "bigint", "tinyint") else f"{name}({rest}" if rest else name


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize("service", SERVICES)
def test_every_mapped_column_is_as_in_the_schema(
    service: str, backend: str, database: DatabaseServer, tmp_path: Path
) -> None:
    name = "tasks_columns"
    database.create_database(name, ROOT / "db/init.sql")
    rows = database.sql(
        "SELECT table_name, column_name, column_type, is_nullable FROM information_schema.columns"
        f" WHERE table_schema = '{name}'"
    )
    schema: dict[str, dict[str, tuple[str, bool]]] = {}
    for line in rows.splitlines():
        table, column, type_, nullable = line.split("\t")
        schema.setdefault(table, {})[column] = (_plain(type_), nullable == "YES")

    for table, columns in mapped(service).items():
        for column, found in columns.items():
            assert found == schema[table][column], f"{table}.{column}"


@pytest.mark.usefixtures("real")
def test_the_api_maps_every_column(backend: str, database: DatabaseServer) -> None:
    """On SQLite the API makes the tables, so none may be missing there."""
    name = "tasks_columns"
    database.create_database(name, ROOT / "db/init.sql")
    rows = database.sql(
        "SELECT table_name, column_name FROM information_schema.columns"
        f" WHERE table_schema = '{name}'"
    )

    known = {(t, c) for t, columns in mapped("api-service").items() for c in columns}
    assert {tuple(line.split("\t")) for line in rows.splitlines()} == known


@pytest.mark.usefixtures("real")
def test_the_schema_can_be_applied_twice(backend: str, database: DatabaseServer) -> None:
    database.create_database("tasks_twice", ROOT / "db/init.sql")

    database.ensure_database("tasks_twice", ROOT / "db/init.sql")


def test_every_setting_is_in_the_example_file() -> None:
    example = (ROOT / ".env.example").read_text()
    code = "from src.config import Settings; print(*[n.upper() for n in Settings.model_fields])"
    for service in SERVICES:
        ended = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT / service,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in ended.stdout.split():
            assert f"{name}=" in example, f"{service}: {name}"
