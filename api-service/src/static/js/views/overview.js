// The whole at one look.
import { h, keyed, say } from "../dom.js";
import { clock, count, length, number, plural } from "../format.js";
import { minuteChart } from "../charts.js";
import { SUBMIT, empty } from "../parts.js";
import { STATUSES, badge } from "../status.js";
import { onSystem } from "../system.js";
import { failureRow, updateFailure } from "./failures.js";
import { updateWorker, workerCard } from "./workers.js";

const CHARTS = { submitted: "Submitted", completed: "Completed", failed: "Failed" };
const MOST_FAILURES = 5;

export function show(main) {
  const tiles = Object.fromEntries(STATUSES.map((status) => [status, statusTile(status)]));
  const oldest = h("strong", {}, "–");
  const charts = Object.entries(CHARTS).map(([name, title]) => ({ name, ...minuteChart(title, name) }));
  const since = h("p.aside");
  const times = timesTable();
  const workers = h("ul.cards.plain");
  const failures = h("tbody");
  const types = h("tbody");
  const nothing = h("div", { hidden: true }, empty("No task yet", "Submit the first one with the form, or from a terminal:", SUBMIT()));
  const noFailures = h("p.muted", { hidden: true }, "No failed task.");
  const noWorkers = h("p.muted", { hidden: true }, "No worker is known. Start one: docker compose up -d worker_service, or ./dev start.");

  main.append(
    h("div.head", {}, h("h1", {}, "Overview"), since),
    nothing,
    h("section.tiles", { "aria-label": "Tasks by status" }, Object.values(tiles).map((tile) => tile.element),
      h("div.tile", {}, h("span.tile-name", {}, "Oldest due"), oldest)),
    h("section.charts", { "aria-label": "Per minute, the last hour" }, charts.map((chart) => chart.element)),
    h("div.columns", {},
      h("section.panel", {}, h("div.panel-head", {}, h("h2", {}, "Workers"), h("a", { href: "?view=workers" }, "All")), noWorkers, workers),
      h("div.stack", {},
        h("section.panel", {}, h("div.panel-head", {}, h("h2", {}, "Times"), times.note), times.table),
        h("section.panel", {}, h("div.panel-head", {}, h("h2", {}, "Failures"), h("a", { href: "?view=failures" }, "All")), noFailures,
          h("div.scroll", {}, h("table", { "aria-label": "Failures by type and error" }, failures))),
        h("section.panel", {}, h("div.panel-head", {}, h("h2", {}, "Types")),
          h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "Type"), h("th.num", {}, "Live workers"), h("th.num", {}, "Tasks"))), types)))),
  );

  function update({ stats, workers: force }) {
    for (const status of STATUSES) say(tiles[status].value, count(stats.by_status[status]));
    say(oldest, stats.oldest_due_seconds === null ? "none" : length(stats.oldest_due_seconds * 1000));
    for (const chart of charts) chart.draw(stats.minutes.slice(-60), chart.name);
    say(since, servers(stats));
    times.update(stats);
    nothing.hidden = STATUSES.some((status) => stats.by_status[status].count);
    noFailures.hidden = stats.failures.length > 0;
    keyed(failures, stats.failures.slice(0, MOST_FAILURES), (one) => `${one.type} ${one.error}`, (one) => failureRow(one, false), updateFailure);
    noWorkers.hidden = force.length > 0;
    keyed(workers, force, (worker) => worker.worker, workerCard, updateWorker);
    const live = (name) => force.filter((worker) => worker.is_live && worker.types.includes(name)).length;
    keyed(types, Object.keys(stats.by_type), (name) => name, typeRow, (row, name) => {
      say(row.children[1], number(live(name)));
      say(row.children[2], count(stats.by_type[name]));
    });
  }
  return { stop: onSystem(update) };
}

function statusTile(status) {
  const value = h("strong", {}, "–");
  const element = h("a.tile", { href: `?view=tasks&status=${status}` }, h("span.tile-name", {}, badge(status)), value);
  return { element, value };
}

function typeRow(name) {
  return h("tr", {}, h("td", {}, h("a", { href: `?view=tasks&type=${encodeURIComponent(name)}` }, name)), h("td.num"), h("td.num"));
}

function timesTable() {
  const cells = { wait_ms: [h("td.num"), h("td.num")], run_ms: [h("td.num"), h("td.num")] };
  const note = h("span.muted");
  const table = h("table", {},
    h("thead", {}, h("tr", {}, h("th", {}, ""), h("th.num", {}, "p50"), h("th.num", {}, "p95"))),
    h("tbody", {}, h("tr", {}, h("th", { scope: "row" }, "Wait"), cells.wait_ms), h("tr", {}, h("th", { scope: "row" }, "Run"), cells.run_ms)));
  function update(stats) {
    for (const [name, [half, most]] of Object.entries(cells)) {
      say(half, length(stats[name].p50));
      say(most, length(stats[name].p95));
    }
    say(note, `latest ${plural(stats.finished, "finished task")}`);
  }
  return { table, note, update };
}

function servers({ broker, database }) {
  const since = ({ state, since: at }) => `${state}${at ? ` since ${clock(at)}` : ""}`;
  const rabbit = broker.state === "none" ? "No broker: workers read the table" : `Broker ${since(broker)}`;
  return `Database ${since(database)} · ${rabbit}`;
}
