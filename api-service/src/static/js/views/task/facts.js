// What a task says of itself in single words.
import { h } from "../../dom.js";
import { clock, length, plural } from "../../format.js";
import { to } from "../../router.js";

/** Return a list, and `write(task)` that holds it to the task. */
export function facts() {
  const element = h("dl.facts");
  let written = "";
  function write(task) {
    const now = JSON.stringify(task);
    if (now === written) return;
    written = now;
    const entries = Object.entries(values(task));
    element.replaceChildren(
      ...entries.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    );
  }
  return { element, write };
}

function values(task) {
  const limit = task.timeout_seconds;
  const counts = [plural(task.attempt, "attempt"), plural(task.errors, "error")];
  if (task.crashes) counts.push(plural(task.crashes, "lost worker"));
  return {
    Id: h("code", {}, task.task_id),
    Type: h("a", { href: to({ view: "tasks", type: task.type }) }, task.type),
    Priority: task.priority,
    Attempts: counts.join(", "),
    "Allowed errors": task.max_attempts ?? "as its type",
    "Time limit": limit === null ? "as its type" : length(limit * 1000),
    Waited: length(task.wait_ms),
    Ran: length(task.duration_ms),
    Worker: task.worker ? h("code", {}, task.worker) : "–",
    ...(task.submitted_by ? { "Submitted by": task.submitted_by } : {}),
    ...(task.callback_url ? { Webhook: h("code", {}, task.callback_url) } : {}),
    Changed: clock(task.updated_at),
  };
}
