// What fails, by type and class of error, and how to run it again.
import { actOnMany } from "../deeds.js";
import { h, keyed, say } from "../dom.js";
import { clock, number, plural } from "../format.js";
import { curl, empty, table, taskLink } from "../parts.js";
import { to } from "../router.js";
import { guard } from "../session.js";
import { onSystem } from "../system.js";
import { show as showText } from "../text.js";

const FAILS = {
  title: "Fails",
  description: "To see a failure",
  max_attempts: 1,
  metadata: { simulate: { seconds: 0, fail_attempts: 9 } },
};

export function show(main) {
  const rows = h("tbody");
  const aside = h("p.aside");
  const command = curl("POST", "api/tasks", JSON.stringify(FAILS));
  const nothing = h("div", { hidden: true });
  nothing.append(empty("Nothing has failed", "To see how a failure looks:", command));
  const columns = ["Type", "Error", "Tasks.num", "Latest.wide", ""];
  const list = table(columns, rows, { class: "list", "aria-label": "Failures by type and error" });
  const box = h("div.scroll.panel.flush", { hidden: true }, list);
  main.append(h("div.head", {}, h("h1", {}, "Failures"), aside), nothing, box);
  const stop = onSystem(({ stats: { failures } }) => {
    const total = failures.reduce((sum, group) => sum + group.count, 0);
    const [groups, tasks] = [plural(failures.length, "group"), plural(total, "failed task")];
    say(aside, total ? `${groups} among the latest ${tasks}` : "");
    nothing.hidden = total > 0;
    box.hidden = !total;
    keyed(rows, failures, groupKey, wholeRow, updateFailure);
  });
  return { stop };
}

export const groupKey = ({ type, error }) => `${type} ${error}`;
const filterOf = ({ type, error }) => ({ status: ["FAILED"], type: [type], error });

/** A row of a group, which leads to the list of its tasks. */
export function failureRow(group) {
  const link = h("a", { href: to({ view: "tasks", ...filterOf(group) }) });
  return h("tr", {}, h("td.type", {}, group.type), h("td.error", {}, link), h("td.num"));
}

/** The same with its latest task, and what can be done. */
function wholeRow(group) {
  const retry = h(
    "button.small",
    {
      type: "button",
      "aria-label": `Retry the group ${groupKey(group)}`,
      onclick: () => actOnMany("retry", { filter: filterOf(group) }),
    },
    "Retry",
  );
  const row = failureRow(group);
  row.append(h("td.wide", {}, h("a.time")), h("td.end", {}, guard(retry, "bulk")));
  return row;
}

export function updateFailure(row, group) {
  const [, error, count, latest] = row.children;
  showText(error.firstElementChild, group.error);
  say(count, number(group.count));
  if (!latest) return;
  latest.firstElementChild.href = taskLink(group.latest_task_id);
  say(latest.firstElementChild, clock(group.latest_at));
}
