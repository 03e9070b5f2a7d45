// What fails, by type and class of error, and how to run it again.
import { actOnMany } from "../deeds.js";
import { h, keyed, say } from "../dom.js";
import { clock, number, plural } from "../format.js";
import { empty, taskLink } from "../parts.js";
import { to } from "../router.js";
import { guard } from "../session.js";
import { onSystem } from "../system.js";
import { show as showText } from "../text.js";

const FAIL = `curl -s ${"http://localhost:8000"}/api/tasks -H 'Content-Type: application/json' \\
  -d '{"title": "Fails", "description": "To see a failure", "max_attempts": 1, "metadata": {"simulate": {"seconds": 0, "fail_attempts": 9}}}'`;

export function show(main) {
  const rows = h("tbody");
  const aside = h("p.aside");
  const nothing = h("div", { hidden: true }, empty("Nothing has failed", "To see how a failure looks:", FAIL.replace("http://localhost:8000", new URL(".", document.baseURI).href.slice(0, -1))));
  const table = h("div.scroll.panel.flush", {}, h("table.list", { "aria-label": "Failures by type and error" },
    h("thead", {}, h("tr", {}, h("th", {}, "Type"), h("th", {}, "Error"), h("th.num", {}, "Tasks"), h("th.wide", {}, "Latest"), h("th", {}, h("span.hidden", {}, "Actions")))), rows));
  main.append(h("div.head", {}, h("h1", {}, "Failures"), aside), nothing, table);
  return { stop: onSystem(({ stats }) => {
    const total = stats.failures.reduce((sum, group) => sum + group.count, 0);
    say(aside, total ? `${plural(stats.failures.length, "group")} among the latest ${plural(total, "failed task")}` : "");
    nothing.hidden = total > 0;
    table.hidden = total === 0;
    keyed(rows, stats.failures, (group) => `${group.type} ${group.error}`, (group) => failureRow(group, true), updateFailure);
  }) };
}

/** A row for a group; `whole`: with its latest task and what can be done. */
export function failureRow({ type, error }, whole) {
  const filter = { status: ["FAILED"], type: [type], error };
  const address = to({ view: "tasks", ...filter });
  const cells = [h("td.type", {}, type), h("td.error", {}, h("a", { href: address })), h("td.num")];
  if (!whole) return h("tr", {}, cells);
  const retry = h("button.small", { type: "button", "aria-label": `Retry the group ${type} ${error}`, onclick: () => actOnMany("retry", { filter }) }, "Retry");
  return h("tr", {}, cells, h("td.wide", {}, h("a.time")), h("td.end", {}, guard(retry, "bulk")));
}

export function updateFailure(row, group) {
  const [, error, count, latest] = row.children;
  showText(error.firstElementChild, group.error);
  say(count, number(group.count));
  if (!latest) return;
  latest.firstElementChild.href = taskLink(group.latest_task_id);
  say(latest.firstElementChild, clock(group.latest_at));
}
