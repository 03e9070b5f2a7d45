"""What finished tasks cost those that come later: an empty table against a long one, ours alone."""

import statistics
from pathlib import Path

from bench.idle import Watcher
from bench.measure import Effort, Results, cpu_groups, end_to_end, finish, load
from bench.servers import Rows, Servers
from bench.systems import KINDS

#: Rows of one INSERT: as many as five digits count.
CHUNK = 100_000
WARM_UP_TASKS = 300
HOURS = 12
_DIGIT = "(SELECT 0 d" + "".join(f" UNION ALL SELECT {digit}" for digit in range(1, 10)) + ")"
#: {0} is the first number. Ids like UUIDv7, of the hours before the last one.
_FILL = f"""
INSERT INTO tasks (id, title, description, status, metadata, type, priority, attempt,
                   run_at, created_at, updated_at, completed_at)
SELECT CONCAT(LEFT(h, 8), '-', SUBSTR(h, 9, 4), '-7', SUBSTR(m, 1, 3), '-8', SUBSTR(m, 4, 3), '-',
              SUBSTR(m, 7, 12)),
       CONCAT('Task ', n), 'Finished long ago',
       ELT(1 + (n MOD 20 = 0) + (n MOD 40 = 0), 'COMPLETED', 'FAILED', 'CANCELLED'),
       JSON_OBJECT('order', 4711), ELT(1 + n MOD 3, 'simulate', 'invoice', 'image'), n MOD 3, 1,
       t, t, t, t
FROM (SELECT n, MD5(n) m, FROM_UNIXTIME(s) t, LOWER(LPAD(HEX(ROUND(s * 1000)), 12, '0')) h
      FROM (SELECT n, UNIX_TIMESTAMP() - 3600 - {HOURS * 3600} * (1 - n / {{1}}) s
            FROM (SELECT {{0}} + a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d n
                  FROM {_DIGIT} a, {_DIGIT} b, {_DIGIT} c, {_DIGIT} e, {_DIGIT} f) numbers
            WHERE n < {{1}}) moments) parts
"""
KEYS = {
    "end_to_end": "end to end, tasks/s",
    "cpu": "CPU per task, µs",
    "idle_p50": "idle p50, ms",
}


def run(servers: Servers, rows: int, rounds: int, folder: Path, effort: Effort) -> None:
    """Measure both in every round, in turns; print the medians of the ratios."""
    taken: list[dict[int, Results]] = []
    for number in range(rounds):
        order = (0, rows) if number % 2 == 0 else (rows, 0)
        logs = folder / str(number + 1)
        taken.append({size: _measure(servers, size, logs / str(size), effort) for size in order})
    print(f"| | empty | {rows:,} rows | ratio |\n| --- | --: | --: | --: |")
    for key, title in KEYS.items():
        empty, full = (statistics.median(t[size][key] for t in taken) for size in (0, rows))
        ratio = statistics.median(t[rows][key] / t[0][key] for t in taken)
        print(f"| {title} | {empty:,.1f} | {full:,.1f} | {ratio:.2f}x |")


def _measure(servers: Servers, size: int, logs: Path, effort: Effort) -> Results:
    with servers.fresh("ours", logs) as system, Rows(system.database_url) as rows:
        for first in range(0, size, CHUNK):
            rows.run(_FILL.format(first, size))
        groups = cpu_groups(servers, system.start_api(), system.start_worker())
        load(system, 64, total=WARM_UP_TASKS)
        finish(system, rows)
        total = effort.tasks(KINDS["ours"].end_to_end)
        results = end_to_end(system, rows, total, groups)
        watcher = Watcher(system, rows)
        watcher.take(effort.turns * effort.tasks_a_turn)
    return results | watcher.results()
