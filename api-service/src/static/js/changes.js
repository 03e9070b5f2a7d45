// The stream of all changes, one for the whole page; views listen while they are shown.
import { h, say } from "./dom.js";
import { now } from "./format.js";
import { follow, framed } from "./live.js";
import { notice } from "./notices.js";

const WORDS = { live: "Live", connecting: "Connecting", lost: "Reconnecting", paused: "Paused" };
//: A moment without a connection needs no banner.
const PATIENCE_MS = 1500;
const listeners = new Set();
let stream = null;
let timer = null;

const spread = framed((tasks) => listeners.forEach(({ onTasks }) => onTasks(tasks)));

export const changes = {
  /** Hear of changed tasks, once a frame, and when all has to be read anew. Returns how to stop. */
  listen({ onTasks, onReset = () => {} }) {
    const listener = { onTasks, onReset };
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  restart() {
    stream?.stop();
    stream = null;
  },
  /** Begin, if that has not been done: from a moment ago, since what was before is read anyway. */
  start() {
    stream ??= follow("api/events", { onEvent, onState, since: String(now() - 2000) });
  },
};

function onEvent(name, data) {
  if (name === "task") spread(data);
  if (name === "snapshot") listeners.forEach(({ onReset }) => onReset());
}

function onState(state) {
  const place = document.getElementById("live");
  place.dataset.state = state;
  if (!place.children.length) place.append(h("span.dot", { "aria-hidden": "true" }), h("span"));
  say(place.lastElementChild, WORDS[state] ?? "");
  clearTimeout(timer);
  if (state === "lost") timer = setTimeout(tellLost, PATIENCE_MS);
  else if (state !== "connecting") notice("stream", null);
}

function tellLost() {
  notice("stream", {
    title: "The connection is lost.",
    words: "What is shown may be old. The page connects again by itself, and reads what it missed.",
  });
}
