// A row of the list. What never changes is written once.
import { h, say } from "../../dom.js";
import { clock, length } from "../../format.js";
import { taskLink } from "../../parts.js";
import { setStatus, statusCell } from "../../status.js";
import { shown } from "../../text.js";

export function taskRow(task) {
  return h(
    "tr",
    {},
    h(
      "td.check",
      {},
      h("input", {
        type: "checkbox",
        value: task.task_id,
        "aria-label": `Select the task ${task.task_id}`,
      }),
    ),
    h("td.state", {}, statusCell()),
    h(
      "td.title",
      {},
      h("a.title", { href: taskLink(task.task_id), title: task.title }, shown(task.title)),
      h("span.why"),
      h("span.under", {}, `${task.type} · ${clock(task.created_at)}`),
    ),
    h("td.wide.type", {}, task.type),
    h("td.wide", {}, h(`span.priority.${task.priority}`, {}, task.priority)),
    h("td.wide.num"),
    h("td.wide.num"),
    h("td.num.time", {}, clock(task.created_at)),
  );
}

/** `fits`: the filters still leave it; a row that left them stays until the page is read again. */
export function updateRow(row, task, fits) {
  const [, status, title, , , wait, run] = row.children;
  const note = title.querySelector(".why");
  row.classList.toggle("gone", !fits);
  setStatus(status.firstElementChild, task);
  const why =
    task.status === "PROCESSING"
      ? task.progress_note
      : task.status === "FAILED" || task.errors
        ? task.error
        : null;
  if (title.dataset.why !== (why ?? "")) {
    title.dataset.why = why ?? "";
    note.replaceChildren(...(why ? [shown(why.split("\n", 1)[0])] : []));
  }
  say(wait, length(task.wait_ms));
  say(run, length(task.duration_ms));
}
