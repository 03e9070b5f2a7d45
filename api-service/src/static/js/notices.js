// Banners: what keeps the page, or the system, from being as it should, and what to do about it.
import { answers } from "./api.js";
import { h, icon, keyed, say } from "./dom.js";

const shown = new Map();

/** Show a banner under a name, or take it away with null. `tone`: `bad`, `warn` or `info`. */
export function notice(name, content) {
  if (content) shown.set(name, { name, tone: "warn", ...content });
  else shown.delete(name);
  // Of an API that does not answer the stream has nothing to add.
  const wanted = [...shown.values()].filter((item) => item.name !== "stream" || !shown.has("api"));
  keyed(document.getElementById("notices"), wanted, (item) => item.name, make, update);
}

function make(item) {
  return h(
    "div.notice",
    { "data-tone": item.tone },
    icon(item.tone === "info" ? "info" : "warning"),
    h("p", {}, h("strong"), " ", h("span")),
    h("div.notice-actions"),
  );
}

function update(element, item) {
  const [title, words] = element.querySelector("p").children;
  element.dataset.tone = item.tone;
  say(title, item.title);
  say(words, item.words);
  const actions = element.querySelector(".notice-actions");
  if (element.dataset.said === item.words && actions.children.length) return;
  element.dataset.said = item.words;
  actions.replaceChildren(...(item.actions ?? []));
}

const ADVICE = {
  0: (problem) => ({
    tone: "bad",
    title: problem.late ? "The API does not answer." : "The API is down.",
    words: `What is shown is as of before. ${problem.late ? "Look at its log and load" : "Start it (./dev start, docker compose up)"}; the page comes back by itself.`,
  }),
  403: (problem) => ({ title: "Not allowed.", words: problem.message }),
  429: (problem) => ({
    title: "Too many requests (429).",
    words: `${problem.message} ${again(problem)}`,
  }),
  503: (problem) => ({
    tone: "bad",
    title: "The API cannot answer (503).",
    words: `${problem.message} ${again(problem)}`,
  }),
  500: (problem) => ({
    tone: "bad",
    title: "The API broke (500).",
    words: `${problem.message} Look for request_id=${problem.requestId} in its log.`,
  }),
};

function again(problem) {
  return problem.retryAfter
    ? `The page asks again after ${problem.retryAfter} s.`
    : "The page asks again shortly.";
}

let slowUntil = null;

/** Hold the banner of the API against what it answers. */
export function watchAnswers() {
  answers.addEventListener("answer", ({ detail }) => {
    const { ok, problem, slow } = detail;
    if (ok) notice("api", null);
    if (problem && problem.status in ADVICE) notice("api", ADVICE[problem.status](problem));
    if (slow) {
      notice("slow", {
        title: "The API is slow.",
        words: "A request has taken over 2 s. The page goes on waiting for it, up to 15 s.",
      });
      clearTimeout(slowUntil);
      slowUntil = setTimeout(() => notice("slow", null), 10_000);
    }
  });
}
