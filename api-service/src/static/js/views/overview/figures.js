// Counts by status, and the last hour by minute.
import { minuteChart } from "../../charts.js";
import { h, say } from "../../dom.js";
import { count, length } from "../../format.js";
import { STATUSES, badge } from "../../status.js";

const CHARTS = { submitted: "Submitted", completed: "Completed", failed: "Failed" };

/** A number for each status, which leads to the list of these tasks, and the longest wait. */
export function tiles() {
  const values = Object.fromEntries(STATUSES.map((status) => [status, h("strong", {}, "–")]));
  const links = STATUSES.map((status) =>
    h(
      "a.tile",
      { href: `?view=tasks&status=${status}` },
      h("span.tile-name", {}, badge(status)),
      values[status],
    ),
  );
  const oldest = h("strong", {}, "–");
  const wait = h("div.tile", {}, h("span.tile-name", {}, "Oldest due"), oldest);
  const element = h("section.tiles", { "aria-label": "Tasks by status" }, links, wait);
  function update({ stats }) {
    for (const status of STATUSES) say(values[status], count(stats.by_status[status]));
    const seconds = stats.oldest_due_seconds;
    say(oldest, seconds === null ? "none" : length(seconds * 1000));
  }
  return { element, update };
}

export function charts() {
  const all = Object.entries(CHARTS).map(([name, title]) => [name, minuteChart(title, name)]);
  const label = { "aria-label": "Per minute, the last hour" };
  const element = h(
    "section.charts",
    label,
    all.map(([, chart]) => chart.element),
  );
  function update({ stats }) {
    for (const [name, chart] of all) chart.draw(stats.minutes, name);
  }
  return { element, update };
}
