// Who works, and on what.
import { h, keyed, say } from "../dom.js";
import { clock, instant, length, now, number, seconds } from "../format.js";
import { empty, taskLink } from "../parts.js";
import { onSystem } from "../system.js";
import { show as showText } from "../text.js";

//: Tasks shown of one worker; a worker may have many slots.
const MOST_TASKS = 20;

export function show(main) {
  const cards = h("ul.cards.plain");
  const aside = h("p.aside");
  const nobody = h("div", { hidden: true }, empty("No worker is known", "Tasks are stored and wait. Start a worker:", "docker compose up -d worker_service"));
  main.append(h("div.head", {}, h("h1", {}, "Workers"), aside), nobody, cards);
  return { stop: onSystem(({ workers }) => {
    const live = workers.filter((worker) => worker.is_live);
    const sum = (name) => live.reduce((total, worker) => total + worker[name], 0);
    say(aside, `${number(live.length)} live · ${number(sum("busy"))} of ${number(sum("concurrency"))} slots in use`);
    nobody.hidden = workers.length > 0;
    keyed(cards, workers, (worker) => worker.worker, workerCard, updateWorker);
  }) };
}

export function workerCard(worker) {
  const types = `Serves ${worker.types.join(", ")}`;
  return h("li.card", {},
    h("div.card-head", {},
      h("strong.mono", {}, `${worker.host}:${worker.pid}`), h("span.state"), h("span.slots", {}, h("meter", { min: 0, "aria-label": "Slots in use" }), h("span"))),
    h("p.muted.facts"),
    h("p.muted.types", { title: types }, types),
    h("ul.running.plain"), h("p.muted.rest", { hidden: true }));
}

export function updateWorker(card, worker) {
  const part = (selector) => card.querySelector(selector);
  card.dataset.live = worker.is_live;
  say(part(".state"), worker.is_live ? "live" : `silent for ${seconds(worker.heartbeat_age_seconds * 1000)}`);
  const meter = part("meter");
  meter.max = worker.concurrency;
  meter.value = worker.busy;
  say(part(".slots span"), `${number(worker.busy)} / ${number(worker.concurrency)}`);
  say(part(".facts"), `since ${clock(worker.started_at)} · heartbeat ${length(worker.heartbeat_age_seconds * 1000)} ago · ${number(worker.processed)} attempts, ${number(worker.failed)} failed`);
  keyed(part(".running"), worker.running.slice(0, MOST_TASKS), (task) => task.task_id, runningTask, updateRunning);
  const rest = worker.running.length - MOST_TASKS;
  part(".rest").hidden = rest <= 0;
  say(part(".rest"), `and ${number(rest)} more`);
}

function runningTask(task) {
  return h("li", {}, h("a.title", { href: taskLink(task.task_id) }), h("progress", { max: 100, "aria-label": "Progress" }), h("span.num.muted"));
}

function updateRunning(row, task) {
  const [title, bar, since] = row.children;
  showText(title, task.title);
  bar.hidden = task.progress === null;
  bar.value = task.progress ?? 0;
  const attempt = task.attempt > 1 ? `attempt ${task.attempt}, ` : "";
  say(since, `${attempt}${seconds(now() - instant(task.started_at))}`);
}
