"""The comparison as one Markdown table: medians, and ratios taken within each round."""

import statistics
from collections.abc import Sequence
from typing import Any

from bench.names import TITLES

#: Name of a number, what a reader calls it, digits after the point.
LINES = (
    ("submit_1", "submissions/s, 1 client", 0),
    ("submit_16", "submissions/s, 16 clients", 0),
    ("submit_64", "submissions/s, 64 clients", 0),
    ("submit_1_p50", "submission p50, 1 client, ms", 2),
    ("submit_16_p50", "submission p50, 16 clients, ms", 1),
    ("submit_64_p50", "submission p50, 64 clients, ms", 1),
    ("submit_1_p99", "submission p99, 1 client, ms", 2),
    ("submit_16_p99", "submission p99, 16 clients, ms", 1),
    ("submit_64_p99", "submission p99, 64 clients, ms", 1),
    ("drain", "drain of a backlog, tasks/s", 0),
    ("end_to_end", "end to end, tasks/s", 0),
    ("cpu", "CPU per task, all processes, µs", 0),
    ("cpu_api", "of it the API", 0),
    ("cpu_worker", "of it the worker", 0),
    ("cpu_database", "of it the database", 0),
    ("cpu_broker", "of it the broker", 0),
    ("idle_p50", "idle, submitted to COMPLETED, p50, ms", 2),
    ("idle_p99", "idle, submitted to COMPLETED, p99, ms", 2),
)
#: What the ratios of ours to a peer are to be; rates at least, times and CPU at most.
TARGETS = {
    "celery": {
        "submit_16": 3.0,
        "submit_64": 4.5,
        "submit_16_p99": 0.25,
        "submit_64_p99": 0.3,
        "drain": 12.0,
        "end_to_end": 4.0,
        "cpu": 0.22,
        "idle_p50": 0.85,
    },
    "dramatiq": {
        "submit_16": 2.0,
        "submit_64": 3.5,
        "submit_16_p99": 0.3,
        "submit_64_p99": 0.3,
        "drain": 8.0,
        "end_to_end": 3.5,
        "idle_p50": 0.95,
    },
}
RATES = {"submit_1", "submit_16", "submit_64", "drain", "end_to_end"}
Round = dict[str, dict[str, float]]


def table(rounds: Sequence[Round]) -> str:
    names = [name for name in TITLES if name in rounds[0]]
    rivals = [name for name in TARGETS if name in names and "ours" in names]
    titles = [TITLES[name] for name in names]
    titles += [f"ours / {TITLES[rival]}" for rival in rivals]
    lines = [_row(["", *titles]), _row(["---", *["--:"] * len(titles)])]
    for key, title, digits in LINES:
        cells = [f"{median(rounds, name, key):,.{digits}f}" for name in names]
        cells += [f"{ratio(rounds, rival, key):.2f}x" for rival in rivals]
        lines.append(_row([title, *cells]))
    return "\n".join(lines)


def goals(rounds: Sequence[Round]) -> str:
    """What the ratios are to be, and which are not."""
    lines = []
    for rival in [name for name in TARGETS if name in rounds[0] and "ours" in rounds[0]]:
        for key, target in TARGETS[rival].items():
            found = ratio(rounds, rival, key)
            reached = found >= target if key in RATES else found <= target
            sign = "≥" if key in RATES else "≤"
            verdict = "reached" if reached else "MISSED"
            lines.append(
                f"{verdict}: {key} / {TITLES[rival]} {found:.2f}x, goal {sign} {target:g}x"
            )
    return "\n".join(lines)


def notes(data: dict[str, Any]) -> str:
    """What a reader must know to believe the table, or to repeat it."""
    rounds = data["rounds"]
    drained = ", ".join(
        f"{TITLES[name]} {results['drain_tasks']:.0f} ({results['end_to_end_tasks']:.0f})"
        for name, results in rounds[0].items()
    )
    spent = max(results["load_cpu_us"] for taken in rounds for results in taken.values())
    facts = [
        f"{data['date']}, medians of {len(rounds)} interleaved rounds; "
        "ratios are medians of the ratios within a round",
        f"tasks drained (end to end): {drained}",
        f"the load generator takes at most {spent:.0f} µs of CPU a request",
        *(f"{key}: {value}" for key, value in data["machine"].items()),
        "packages: " + ", ".join(f"{k} {v}" for k, v in data["packages"].items()),
    ]
    return "\n".join(f"- {fact}" for fact in facts)


def median(rounds: Sequence[Round], name: str, key: str) -> float:
    return statistics.median(taken[name][key] for taken in rounds)


def ratio(rounds: Sequence[Round], rival: str, key: str, mine: str = "ours") -> float:
    """Return the median of the ratios within each round: what moves the machine moves both."""
    return statistics.median(
        taken[mine][key] / taken[rival][key] if taken[rival][key] else float("nan")
        for taken in rounds
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
