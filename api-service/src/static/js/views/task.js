// One task: what it is, how it went, why it is where it is, and what can be done.
import { ask } from "../api.js";
import { readTypes } from "../catalogue.js";
import { h, say } from "../dom.js";
import { jsonPanel } from "../json.js";
import { follow } from "../live.js";
import { copyButton, panel } from "../parts.js";
import { poll } from "../poll.js";
import { setStatus, statusCell } from "../status.js";
import { show as showText } from "../text.js";
import { eachSecond } from "../ticks.js";
import { buttons, isFinal } from "./task/buttons.js";
import { facts } from "./task/facts.js";
import { timeline } from "./task/timeline.js";

export function show(main, query) {
  const id = query.get("id") ?? "";
  const path = `api/tasks/${encodeURIComponent(id)}`;
  const parts = makeParts(id, { done: onDone });
  main.append(parts.element);
  let stream = null;
  const reading = poll(readAll, 10, 0.5);

  async function readAll() {
    try {
      const paths = [path, `${path}/attempts`, `${path}/explain`];
      const [task, { attempts }, reason] = await Promise.all([
        ...paths.map((one) => ask(one)),
        readTypes(),
      ]);
      parts.write(task);
      parts.writeCourse(task, attempts, reason);
      // After a retry it can be followed again.
      if (!isFinal(task)) stream ??= follow(`${path}/events`, { onEvent });
    } catch (problem) {
      if (problem.status !== 404) throw problem;
      tellGone();
    }
  }

  function onEvent(name, data) {
    if (name === "task") parts.write(data);
    if (name === "end" && data.reason === "deleted") tellGone();
    if (name === "end") stream = null;
    reading.soon();
  }

  function onDone(task) {
    if (task) parts.write(task);
    reading.now();
  }

  function tellGone() {
    stop();
    const list = h("a", { href: "?view=tasks" }, "To the list");
    const words = h("p", {}, "It was deleted, or never stored. ", list);
    main.replaceChildren(h("div.empty", {}, h("h1", {}, "No task has this id"), words));
  }

  function stop() {
    reading.stop();
    stream?.stop();
    ticking();
  }

  const ticking = eachSecond(parts.tick);
  return { stop };
}

/** Make all that is shown; `write` takes a task, `writeCourse` its attempts and the explanation. */
function makeParts(id, { done }) {
  let task = null;
  let shownJson = "";
  const title = h("h1.task-title");
  const deeds = buttons(id, { task: () => task, done });
  const status = statusCell();
  const bar = h("progress", { max: 100, "aria-label": "Progress" });
  const note = h("span.muted");
  const why = h("p.why");
  const description = h("p.description");
  const json = h("div.stack");
  const course = timeline();
  const list = facts();
  const left = h("div.stack", {}, panel("Description", null, description), json);
  const copyId = copyButton("Copy id", () => id);
  const right = h(
    "div.stack",
    {},
    panel("Timeline", null, course.element),
    panel("Facts", copyId, list.element),
  );
  const head = h("div.head.task-head", {}, title, deeds.element);
  const state = h("div.task-state", {}, status, bar, note, why);
  const element = h("div", { hidden: true }, head, state, h("div.columns", {}, left, right));

  function write(now) {
    task = now;
    const runs = task.status === "PROCESSING";
    element.hidden = false;
    document.title = `${task.title.slice(0, 60)} · Task queue`;
    showText(title, task.title);
    setStatus(status, task);
    bar.hidden = !runs || task.progress === null;
    bar.value = task.progress ?? 0;
    showText(note, runs ? (task.progress_note ?? "") : "");
    showText(description, task.description);
    deeds.write(task);
    list.write(task);
    writeJson();
  }

  /** Only what has changed: a folded tree stays as it was opened. */
  function writeJson() {
    const now = JSON.stringify([task.metadata, task.result]);
    if (now === shownJson) return;
    shownJson = now;
    const panels = [jsonPanel("Payload", task.metadata), jsonPanel("Result", task.result)];
    json.replaceChildren(...panels.filter(Boolean));
  }

  function writeCourse(now, attempts, reason) {
    course.write(now, attempts);
    say(why, reason.detail);
  }

  const tick = () => task?.status === "PENDING" && setStatus(status, task);
  return { element, write, writeCourse, tick };
}
