// One task: what it is, how it went, why it is where it is, and what can be done.
import { ask } from "../api.js";
import { readTypes } from "../catalogue.js";
import { act } from "../deeds.js";
import { h, say } from "../dom.js";
import { clock, length, plural } from "../format.js";
import { jsonPanel } from "../json.js";
import { follow } from "../live.js";
import { copyButton, curl } from "../parts.js";
import { poll } from "../poll.js";
import { go, to } from "../router.js";
import { guard } from "../session.js";
import { setStatus, statusCell } from "../status.js";
import { show as showText } from "../text.js";
import { eachSecond } from "../ticks.js";
import { inquire, toast } from "../toast.js";
import { timeline } from "./task/timeline.js";

const FINAL = ["COMPLETED", "FAILED", "CANCELLED"];
const OPEN_TO = { retry: ["FAILED", "CANCELLED"], cancel: ["PENDING", "PROCESSING"], delete: ["PENDING", ...FINAL] };

export function show(main, query) {
  const id = query.get("id") ?? "";
  const path = `api/tasks/${encodeURIComponent(id)}`;
  let task = null;
  const title = h("h1.task-title");
  const status = statusCell();
  const bar = h("progress", { max: 100, "aria-label": "Progress", hidden: true });
  const note = h("span.muted");
  const why = h("p.why");
  const facts = h("dl.facts");
  const line = timeline();
  const description = h("p.description");
  const payload = h("div.stack");
  const buttons = actionButtons();
  const content = h("div", { hidden: true },
    h("div.head.task-head", {}, title, h("span.buttons", {}, Object.values(buttons))),
    h("div.task-state", {}, status, bar, note, why),
    h("div.columns", {},
      h("div.stack", {}, h("section.panel", {}, h("div.panel-head", {}, h("h2", {}, "Description")), description), payload),
      h("div.stack", {}, h("section.panel", {}, h("div.panel-head", {}, h("h2", {}, "Timeline")), line.element),
        h("section.panel", {}, h("div.panel-head", {}, h("h2", {}, "Facts"), copyButton("Copy id", () => id)), facts))));
  main.append(content);

  let stream = null;
  let shownJson = "";
  const reading = poll(async () => {
    try {
      const [whole, { attempts }, reason] = await Promise.all([ask(path), ask(`${path}/attempts`), ask(`${path}/explain`)]);
      await readTypes();
      write(whole);
      line.write(whole, attempts);
      say(why, reason.detail);
      // After a retry it may be followed again.
      if (!FINAL.includes(whole.status)) stream ??= follow(`${path}/events`, { onEvent });
    } catch (problem) {
      if (problem.status !== 404) throw problem;
      gone();
    }
  }, 10, 0.5);

  function onEvent(name, data) {
    if (name === "task") write(data);
    if (name === "end" && data.reason === "deleted") gone();
    if (name === "end") stream = null;
    reading.soon();
  }

  function gone() {
    main.replaceChildren(h("div.empty", {}, h("h1", {}, "No task has this id"),
      h("p", {}, "It was deleted, or never stored. ", h("a", { href: "?view=tasks" }, "To the list"))));
    reading.stop();
    stream?.stop();
  }

  function write(now) {
    task = now;
    content.hidden = false;
    document.title = `${task.title.slice(0, 60)} · Task queue`;
    showText(title, task.title);
    setStatus(status, task);
    bar.hidden = task.progress === null || task.status !== "PROCESSING";
    bar.value = task.progress ?? 0;
    showText(note, task.status === "PROCESSING" ? task.progress_note ?? "" : "");
    showText(description, task.description);
    for (const [action, statuses] of Object.entries(OPEN_TO)) buttons[action].hidden = !statuses.includes(task.status);
    writeFacts(facts, task);
    const json = JSON.stringify([task.metadata, task.result]);
    if (json === shownJson) return;
    shownJson = json;
    payload.replaceChildren(...[jsonPanel("Payload", task.metadata), jsonPanel("Result", task.result)].filter(Boolean));
  }

  function actionButtons() {
    const deed = (action) => async () => {
      const done = await act(action, id);
      if (done) write(done);
      reading.now();
    };
    const made = {
      retry: guard(h("button.primary", { type: "button", onclick: deed("retry") }, "Retry"), "retry"),
      cancel: guard(h("button", { type: "button", onclick: deed("cancel") }, "Cancel task"), "cancel"),
      clone: guard(h("button", { type: "button", onclick: () => go(to({ view: "submit", from: id })) }, "Clone"), "submit"),
      curl: copyButton("Copy as curl", () => curl("POST", "api/tasks", JSON.stringify(submission(task)))),
      delete: guard(h("button.danger", { type: "button", onclick: remove }, "Delete"), "delete"),
    };
    made.curl.className = "";
    return made;
  }

  async function remove() {
    const sure = await inquire({ title: "Delete this task?", body: h("p", {}, "It and its attempts are gone for good."), yes: "Delete it", danger: true });
    if (!sure || (await act("delete", id)) === undefined) return;
    toast("Deleted the task.");
    go("?view=tasks", { replace: true });
  }

  const stops = [reading.stop, eachSecond(() => task?.status === "PENDING" && setStatus(status, task)), () => stream?.stop()];
  return { stop: () => stops.forEach((stop) => stop()) };
}

/** The body that would submit the same task again. */
export function submission(task) {
  const body = { title: task.title, description: task.description };
  if (task.metadata !== null) body.metadata = task.metadata;
  if (task.type !== "simulate") body.type = task.type;
  if (task.priority !== "normal" || task.metadata?.priority) body.priority = task.priority;
  if (task.max_attempts !== null) body.max_attempts = task.max_attempts;
  if (task.timeout_seconds !== null) body.timeout_seconds = task.timeout_seconds;
  return body;
}

function writeFacts(list, task) {
  const entries = {
    Id: h("code", {}, task.task_id),
    Type: h("a", { href: to({ view: "tasks", type: task.type }) }, task.type),
    Priority: task.priority,
    Attempts: `${plural(task.attempt, "attempt")}, ${plural(task.errors, "error")}${task.crashes ? `, ${plural(task.crashes, "lost worker")}` : ""}`,
    "Allowed errors": task.max_attempts ?? "as its type",
    "Time limit": task.timeout_seconds === null ? "as its type" : length(task.timeout_seconds * 1000),
    Waited: length(task.wait_ms),
    Ran: length(task.duration_ms),
    Worker: task.worker ? h("code", {}, task.worker) : "–",
    Changed: clock(task.updated_at),
  };
  const said = JSON.stringify([task, Object.keys(entries)]);
  if (list.dataset.said === said) return;
  list.dataset.said = said;
  list.replaceChildren(...Object.entries(entries).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}
