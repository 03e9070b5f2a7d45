"""``./dev bench``: this project and its peers at the same work, on servers of its own."""

import argparse
import json
import subprocess
import sys
import venv
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench import growth, idle, machine, profiling, report
from bench.measure import QUICK, STEPS, Effort
from bench.servers import Servers, private_servers
from bench.systems import KINDS, VENV
from tests.local.broker import BrokerServer
from tests.local.database import DatabaseServer
from tests.local.servers import ServerError
from tests.local.services import ROOT

FOLDER = ROOT / ".data" / "bench"
CHART = "docs/bench.svg"
INSTALL_SECONDS = 600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, help="how often each system is measured (3)")
    parser.add_argument("--seconds", type=float, help="of submissions, for each number of clients")
    parser.add_argument("--systems", default=",".join(KINDS), help="which, separated by commas")
    parser.add_argument("--chart", nargs="?", const=CHART, help=f"draw an SVG ({CHART})")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--redraw", type=Path, metavar="JSON", help="report on a run of before")
    other.add_argument("--rows", type=int, help="compare an empty table with one of so many rows")
    other.add_argument("--profile", action="store_true", help="where ours spends its time")


def run(arguments: argparse.Namespace) -> int:
    names = [name.strip() for name in arguments.systems.split(",")]
    if unknown := set(names) - set(KINDS):
        raise ServerError(f"no such system: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    if missing := [s for kind in (DatabaseServer, BrokerServer) if (s := kind.available())]:
        raise ServerError("; ".join(missing))
    make_environment()
    if arguments.redraw:
        show(arguments.redraw, arguments.chart)
        return 0
    effort = QUICK if arguments.quick else Effort()
    if arguments.seconds:
        effort = replace(effort, seconds=arguments.seconds)
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S")
    with private_servers(FOLDER) as servers:
        if arguments.rows:
            growth.run(servers, arguments.rows, arguments.rounds or 3, FOLDER / stamp, effort)
        elif arguments.profile:
            profiling.run(servers, FOLDER / stamp, effort)
        else:
            rounds = arguments.rounds or (1 if arguments.quick else 3)
            result = compare(servers, names, rounds, FOLDER / stamp, effort)
            show(result, arguments.chart)
    return 0


def compare(servers: Servers, names: list[str], rounds: int, folder: Path, effort: Effort) -> Path:
    """Measure all systems in each step of every round; return the JSON file.

    Each round has another order.
    """
    data: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine.describe(servers),
        "packages": machine.packages(),
        "rounds": [],
    }
    print(f"bench: {data['machine']}", file=sys.stderr)
    taken: list[report.Round] = []
    for number in range(rounds):
        shift = number % len(names)
        order = names[shift:] + names[:shift]
        results: report.Round = {name: {} for name in names}
        for step in STEPS:
            for name in order:
                _say(number, rounds, f"{step.__name__}, {KINDS[name].title}")
                logs = folder / f"{number + 1}-{step.__name__}-{name}"
                results[name] |= step(servers, name, logs, effort)
        _say(number, rounds, "one task at a time")
        alone = idle.measure(servers, names, folder / f"{number + 1}-idle", effort)
        results = {name: results[name] | alone[name] for name in names}
        taken.append(results)
        data["rounds"] = taken
        # After every round: what was measured outlives a run that is broken off.
        file = folder.with_suffix(".json")
        file.write_text(json.dumps(data, indent=1))
    return file


def _say(number: int, rounds: int, what: str) -> None:
    print(f"bench: round {number + 1} of {rounds}, {what.replace('_', ' ')}", file=sys.stderr)


def show(file: Path, chart: str | None) -> None:
    """Print the table of a run, and draw it where that is asked for."""
    data = json.loads(file.read_text())
    print(
        f"\n{report.table(data['rounds'])}\n\n{report.notes(data)}\n\n{report.goals(data['rounds'])}"
    )
    print(f"bench: all numbers are in {file}", file=sys.stderr)
    if chart:
        command = [str(VENV / "bin/python"), "-m", "bench.chart", str(file), chart]
        if subprocess.run(command, cwd=ROOT, timeout=120).returncode:
            raise ServerError(f"could not draw {chart}")


def make_environment() -> None:
    """Install the locked requirements of the peers where they belong, unless they are there."""
    requirements = ROOT / "bench/requirements.txt"
    wanted = sha256(requirements.read_bytes()).hexdigest()
    installed = VENV / "installed"
    if installed.exists() and installed.read_text() == wanted:
        return
    print("bench: installing the peers into .venv-bench (once, a minute)", file=sys.stderr)
    venv.create(VENV, with_pip=True, clear=True)
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--quiet"]
    command = [*pip, "--disable-pip-version-check", "-r", str(requirements)]
    if subprocess.run(command, timeout=INSTALL_SECONDS).returncode:
        raise ServerError("the peers could not be installed, see above")
    installed.write_text(wanted)
