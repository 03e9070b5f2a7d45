"""Processes of a measured system: how to start and end one, and what CPU it has used."""

import os
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.local.servers import Server

STOP_SECONDS = 10.0
TICKS = os.sysconf("SC_CLK_TCK")


class Program:
    """A program with its children; what it writes goes to a file."""

    def __init__(
        self, command: Sequence[str], folder: Path, settings: dict[str, str], log: Path
    ) -> None:
        self.log = log
        inherited = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=inherited | settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A group that can be ended as a whole; Ctrl-C is for the runner.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def runs(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Ask it to end, then end whatever is left of its group."""
        self._process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(STOP_SECONDS)


def server_pid(server: Server) -> int:
    """Return the pid of a server that runs: it keeps it in its folder, for whoever asks."""
    return int((server.folder / "process").read_text().split()[0])


def cpu_seconds(roots: Iterable[int]) -> float:
    """Return the CPU time, user and system, of processes and all their descendants so far."""
    children: dict[int, list[int]] = defaultdict(list)
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                children[int(stat[1])].append(int(entry.name))
                # utime, stime and those of children that ended and were waited for.
                ticks[int(entry.name)] = sum(map(int, stat[11:15]))
    found = list(roots)
    for pid in found:
        found.extend(children[pid])
    return sum(ticks.get(pid, 0) for pid in found) / TICKS
