// The life of a task in its order: created, due, each attempt, the end.
import { h, icon, keyed, say } from "../../dom.js";
import { clock, instant, length, now, plural, seconds } from "../../format.js";
import { WORDS } from "../../status.js";
import { show as showText, shown } from "../../text.js";

const OUTCOMES = {
  completed: ["completed", "completed"],
  running: ["processing", "runs"],
  error: ["failed", "failed"],
  timeout: ["failed", "took too long"],
  worker_lost: ["failed", "lost its worker"],
  cancelled: ["cancelled", "was cancelled"],
  released: ["pending", "was given back by its worker"],
};

/** `write(task, attempts)` holds it to what is known now. */
export function timeline() {
  const element = h("ol.timeline.plain");
  const write = (task, attempts) =>
    keyed(element, steps(task, attempts), (step) => step.key, make, update);
  return { element, write };
}

function steps(task, attempts) {
  const list = [{ key: "created", look: "info", words: "Created", at: task.created_at }];
  // After an attempt that failed, and after a retry request, it is the time of a later attempt.
  const isFirst = attempts.every(
    ({ attempt, started_at: began }) => attempt === 1 && instant(began) >= instant(task.run_at),
  );
  if (isFirst && instant(task.run_at) - instant(task.created_at) > 1500) {
    list.push({
      key: "due",
      look: "pending",
      words: instant(task.run_at) > now() ? "Due" : "Was due",
      at: task.run_at,
    });
  }
  for (const attempt of attempts) list.push(attemptStep(attempt));
  const waits = task.status === "PENDING" && attempts.length;
  if (waits)
    list.push({
      key: "next",
      look: "retrying",
      words: `Attempt ${task.attempt + 1} is due`,
      at: task.run_at,
    });
  if (task.completed_at)
    list.push({
      key: "end",
      look: task.status.toLowerCase(),
      words: WORDS[task.status],
      at: task.completed_at,
    });
  return list;
}

function attemptStep(attempt) {
  const [look, words] = OUTCOMES[attempt.outcome] ?? ["info", attempt.outcome];
  const ran =
    attempt.duration_ms ??
    (attempt.outcome === "running" && attempt.started_at
      ? now() - instant(attempt.started_at)
      : null);
  return {
    key: `attempt ${attempt.attempt} ${attempt.outcome}`,
    look,
    words: `Attempt ${attempt.attempt} ${words}`,
    at: attempt.started_at,
    note: [
      ran === null
        ? ""
        : `${attempt.outcome === "running" ? `for ${seconds(ran)}` : `after ${length(ran)}`}`,
      attempt.worker ? `worker ${attempt.worker.slice(0, 8)}` : "",
    ]
      .filter(Boolean)
      .join(" · "),
    error: attempt.error,
    traceback: attempt.traceback,
  };
}

function make({ look, words, error, traceback }) {
  const box = h(
    "li",
    { "data-look": look },
    icon(look),
    h("div", {}, h("div.step", {}, h("strong", {}, words), h("span.time")), h("p.muted.note")),
  );
  const inside = box.lastElementChild;
  if (error) inside.append(h("p.error", {}, shown(error)));
  if (traceback) {
    const text = h("pre", { tabindex: "0", "aria-label": "Traceback" }, shown(traceback));
    inside.append(
      h(
        "details.traceback",
        {},
        h("summary", {}, `Traceback, ${plural(traceback.trimEnd().split("\n").length, "line")}`),
        text,
      ),
    );
  }
  return box;
}

function update(box, { words, at, note }) {
  say(box.querySelector("strong"), words);
  say(box.querySelector(".time"), clock(at));
  const small = box.querySelector(".note");
  small.hidden = !note;
  showText(small, note ?? "");
}
