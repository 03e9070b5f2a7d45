"""Where the API and the worker spend their time while tasks come in as fast as they can."""

import subprocess
from collections import Counter
from pathlib import Path

from bench.measure import Effort, finish, load, load_command
from bench.servers import Rows, Servers
from bench.systems import VENV
from tests.local.servers import ServerError

TOP = 15
WARM_UP_TASKS = 300
SAMPLES_PER_SECOND = "200"
#: Seconds that the load goes on before and after the samples are taken.
MARGIN_SECONDS = 2.0
WAIT_SECONDS = 60.0
FLAVOURS = {"all": ("--threads",), "gil": ("--threads", "--gil")}


def run(servers: Servers, folder: Path, effort: Effort) -> None:
    """Draw flame graphs of both processes and print their top functions."""
    with servers.fresh("ours", folder) as system:
        pids = {"api": system.start_api(), "worker": system.start_worker()}
        # The samples are to show work, not the imports of a process that starts.
        with Rows(system.database_url) as rows:
            load(system, 64, total=WARM_UP_TASKS)
            finish(system, rows)
        for flavour, options in FLAVOURS.items():
            for kind, ending in (("raw", "txt"), ("flamegraph", "svg")):
                files = {name: folder / f"{name}-{flavour}.{ending}" for name in pids}
                seconds = max(2, round(effort.seconds))
                command = load_command(system, 64, seconds=seconds + MARGIN_SECONDS)
                with subprocess.Popen(command, stdout=subprocess.DEVNULL) as loading:
                    try:
                        _record(pids, files, seconds, ("-f", kind, *options))
                        if loading.wait(WAIT_SECONDS):
                            raise ServerError("the load was not accepted")
                    finally:
                        loading.kill()
            for name in pids:
                _print_top(f"{name}, {flavour}", folder / f"{name}-{flavour}.txt")
    print(f"Flame graphs: {folder}/*.svg")


def _record(
    pids: dict[str, int], files: dict[str, Path], seconds: int, options: tuple[str, ...]
) -> None:
    base = [str(VENV / "bin/py-spy"), "record", "-d", str(seconds), "-r", SAMPLES_PER_SECOND]
    spies = [
        subprocess.Popen(
            [*base, "-p", str(pid), "-o", str(files[name]), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, pid in pids.items()
    ]
    try:
        if any(spy.wait(WAIT_SECONDS) for spy in spies):
            raise ServerError("py-spy failed; it needs the right to trace other processes")
    finally:
        for spy in spies:
            spy.kill()


def _print_top(title: str, stacks: Path) -> None:
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    for line in stacks.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(count)
        # A function that calls itself counts once.
        inclusive.update(dict.fromkeys(frames, int(count)))
    total = own.total() or 1
    for what, counter in (("own", own), ("inclusive", inclusive)):
        print(f"\n{title}: {what} time")
        for frame, samples in counter.most_common(TOP):
            print(f"  {100 * samples / total:5.1f} %  {frame}")
