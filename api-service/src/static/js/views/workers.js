// Who works, and on what.
import { h, keyed, say } from "../dom.js";
import { clock, instant, length, now, number, seconds } from "../format.js";
import { empty, taskLink } from "../parts.js";
import { onSystem } from "../system.js";
import { show as showText } from "../text.js";

//: Tasks shown of one worker; a worker may have many slots.
const MOST_TASKS = 20;
const WAIT = "Tasks are stored and wait. Start a worker, or all of it with ./dev start:";

export function show(main) {
  const cards = h("ul.cards.plain");
  const aside = h("p.aside");
  const nobody = h("div", { hidden: true });
  nobody.append(empty("No worker is known", WAIT, "docker compose up -d worker_service"));
  main.append(h("div.head", {}, h("h1", {}, "Workers"), aside), nobody, cards);
  const stop = onSystem(({ workers }) => {
    const live = workers.filter((worker) => worker.is_live);
    const sum = (name) => number(live.reduce((total, worker) => total + worker[name], 0));
    say(aside, `${live.length} live · ${sum("busy")} of ${sum("concurrency")} slots in use`);
    nobody.hidden = workers.length > 0;
    keyed(cards, workers, (worker) => worker.worker, workerCard, updateWorker);
  });
  return { stop };
}

export function workerCard(worker) {
  const types = `Serves ${worker.types.join(", ")}`;
  const meter = h("meter", { min: 0, "aria-label": "Slots in use" });
  return h(
    "li.card",
    {},
    h(
      "div.card-head",
      {},
      h("strong.mono", {}, `${worker.host}:${worker.pid}`),
      h("span.state"),
      h("span.slots", {}, meter, h("span")),
    ),
    h("p.muted.facts"),
    h("p.muted.types", { title: types }, types),
    h("ul.running.plain"),
    h("p.muted.rest"),
  );
}

export function updateWorker(card, worker) {
  const part = (selector) => card.querySelector(selector);
  const age = worker.heartbeat_age_seconds * 1000;
  card.dataset.live = worker.is_live;
  say(part(".state"), worker.is_live ? "live" : `silent for ${seconds(age)}`);
  part("meter").max = worker.concurrency;
  part("meter").value = worker.busy;
  say(part(".slots span"), `${number(worker.busy)} / ${number(worker.concurrency)}`);
  const counts = `${number(worker.processed)} attempts, ${number(worker.failed)} failed`;
  const words = [`since ${clock(worker.started_at)}`, `heartbeat ${length(age)} ago`, counts];
  say(part(".facts"), words.join(" · "));
  const tasks = worker.running.slice(0, MOST_TASKS);
  keyed(part(".running"), tasks, (task) => task.task_id, runningTask, updateRunning);
  const rest = worker.running.length - tasks.length;
  part(".rest").hidden = !rest;
  say(part(".rest"), `and ${number(rest)} more`);
}

function runningTask(task) {
  const title = h("a.title", { href: taskLink(task.task_id) });
  const bar = h("progress", { max: 100, "aria-label": "Progress" });
  return h("li", {}, title, bar, h("span.num.muted"));
}

function updateRunning(row, task) {
  const [title, bar, since] = row.children;
  showText(title, task.title);
  bar.hidden = task.progress === null;
  bar.value = task.progress ?? 0;
  const attempt = task.attempt > 1 ? `attempt ${task.attempt}, ` : "";
  say(since, `${attempt}${seconds(now() - instant(task.started_at))}`);
}
