// The table of the list, and which of its rows are selected.
import { h, keyed } from "../../dom.js";
import { fits } from "../../filters.js";
import { setStatus } from "../../status.js";
import { taskRow, updateRow } from "./row.js";

/** `onSelect(count, isAll)` is called when the selection has changed. */
export function taskTable(onSelect) {
  const rows = h("tbody");
  const all = h("input", {
    type: "checkbox",
    "aria-label": "Select all on this page",
    onchange: () => select(all.checked),
  });
  const head = h(
    "tr",
    {},
    h("th.check", {}, all),
    h("th", {}, "Status"),
    h("th", {}, "Title"),
    h("th.wide", {}, "Type"),
    h("th.wide", {}, "Priority"),
    h("th.wide.num", {}, "Wait"),
    h("th.wide.num", {}, "Run"),
    h("th.num", {}, "Created"),
  );
  const label = { "aria-label": "Tasks, newest first" };
  const table = h("table.list.tasks", label, h("thead", {}, head), rows);
  const element = h("div.panel.flush", {}, table);
  rows.addEventListener("change", tell);

  const boxes = () => [...rows.querySelectorAll("input")];
  const selected = () => boxes().flatMap((box) => (box.checked ? [box.value] : []));

  function select(on) {
    for (const box of boxes()) box.checked = on;
    tell();
  }

  function tell() {
    const [chosen, shown] = [selected().length, rows.children.length];
    all.checked = chosen > 0 && chosen === shown;
    all.indeterminate = chosen > 0 && chosen < shown;
    onSelect(chosen, all.checked);
  }

  return {
    element,
    selected,
    select,
    draw({ tasks, filters }) {
      const update = (row, task) => updateRow(row, task, fits(filters, task));
      keyed(rows, tasks, (task) => task.task_id, taskRow, update);
      element.hidden = !tasks.length;
      tell();
    },
    drawRow: (n, task, filters) => updateRow(rows.children[n], task, fits(filters, task)),
    /** Count down what waits. */
    tick(tasks) {
      for (const [n, row] of [...rows.children].entries()) {
        if (tasks[n]?.status === "PENDING") setStatus(row.querySelector(".status"), tasks[n]);
      }
    },
    /** Nothing moves under a pointer, a focus or a selection. */
    isTouched: () =>
      rows.matches(":hover") || rows.contains(document.activeElement) || selected().length > 0,
  };
}
