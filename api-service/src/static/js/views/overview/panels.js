// The panels of the overview: who works, how long it takes, what fails, what there is.
import { h, keyed, say } from "../../dom.js";
import { count, length, number, plural } from "../../format.js";
import { panel, table } from "../../parts.js";
import { to } from "../../router.js";
import { failureRow, groupKey, updateFailure } from "../failures.js";
import { updateWorker, workerCard } from "../workers.js";

const MOST_FAILURES = 5;
const START = "docker compose up -d worker_service, or ./dev start";

export function workersPanel() {
  const cards = h("ul.cards.plain");
  const nobody = h("p.muted", { hidden: true }, `No worker is known. Start one: ${START}.`);
  const element = panel("Workers", h("a", { href: "?view=workers" }, "All"), nobody, cards);
  function update({ workers }) {
    nobody.hidden = workers.length > 0;
    keyed(cards, workers, (worker) => worker.worker, workerCard, updateWorker);
  }
  return { element, update };
}

export function timesPanel() {
  const note = h("span.muted");
  const cells = { wait_ms: [h("td.num"), h("td.num")], run_ms: [h("td.num"), h("td.num")] };
  const row = (words, name) => h("tr", {}, h("th", { scope: "row" }, words), cells[name]);
  const body = h("tbody", {}, row("Wait", "wait_ms"), row("Run", "run_ms"));
  const element = panel("Times", note, table(["Time", "p50.num", "p95.num"], body));
  function update({ stats }) {
    for (const [name, [half, most]] of Object.entries(cells)) {
      say(half, length(stats[name].p50));
      say(most, length(stats[name].p95));
    }
    say(note, `latest ${plural(stats.finished, "finished task")}`);
  }
  return { element, update };
}

export function failuresPanel() {
  const rows = h("tbody");
  const none = h("p.muted", { hidden: true }, "No failed task.");
  const list = h(
    "div.scroll",
    {},
    h("table", { "aria-label": "Failures by type and error" }, rows),
  );
  const element = panel("Failures", h("a", { href: "?view=failures" }, "All"), none, list);
  function update({ stats }) {
    none.hidden = stats.failures.length > 0;
    keyed(rows, stats.failures.slice(0, MOST_FAILURES), groupKey, failureRow, updateFailure);
  }
  return { element, update };
}

export function typesPanel() {
  const rows = h("tbody");
  const element = panel("Types", null, table(["Type", "Live workers.num", "Tasks.num"], rows));
  function update({ stats, workers }) {
    const live = workers.filter((worker) => worker.is_live);
    keyed(
      rows,
      Object.keys(stats.by_type),
      (name) => name,
      typeRow,
      (row, name) => {
        say(row.children[1], number(live.filter((worker) => worker.types.includes(name)).length));
        say(row.children[2], count(stats.by_type[name]));
      },
    );
  }
  return { element, update };
}

function typeRow(name) {
  const link = h("a", { href: to({ view: "tasks", type: name }) }, name);
  return h("tr", {}, h("td", {}, link), h("td.num"), h("td.num"));
}
