"""Draw the ratios to Celery of a run: ``python -m bench.chart RUN.json CHART.svg``.

Runs in .venv-bench, which has matplotlib.
"""

import json
import sys
from pathlib import Path

import matplotlib  # type: ignore[import-not-found,unused-ignore]
import matplotlib.pyplot as plt  # type: ignore[import-not-found,unused-ignore]

from bench.names import TITLES
from bench.report import ratio

#: Okabe and Ito: told apart with every kind of colour blindness.
COLOURS = {"ours": "#0072B2", "dramatiq": "#E69F00", "typical": "#999999"}
RIVAL = "celery"
RATES = {
    "submit_16": "submissions,\n16 clients",
    "submit_64": "submissions,\n64 clients",
    "drain": "drain of\na backlog",
    "end_to_end": "end to end",
}


def draw(source: Path, target: Path) -> None:
    data = json.loads(source.read_text())
    rounds = data["rounds"]
    if RIVAL not in rounds[0]:
        sys.exit("chart: the run has no Celery to compare with")
    names = [name for name in COLOURS if name in rounds[0]]
    matplotlib.rcParams["svg.fonttype"] = "none"
    figure, axes = plt.subplots(figsize=(8, 4), facecolor="white")
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        places = [place + number * width for place in range(len(RATES))]
        values = [ratio(rounds, RIVAL, key, name) for key in RATES]
        bars = axes.bar(places, values, width, color=COLOURS[name], label=TITLES[name])
        axes.bar_label(bars, fmt="%.1f×", fontsize=8)
    axes.set_xticks([p + width * (len(names) - 1) / 2 for p in range(len(RATES))], RATES.values())
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_yticks([0.2, 0.5, 1, 2, 5, 10])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.set_ylabel("times Celery's rate (log)")
    axes.set_title(f"Throughput against Celery, {data['date']}")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, format="svg", metadata={"Date": None}, bbox_inches="tight")


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
