// How a status looks: a shape, a word and a colour, never the colour alone.
import { h, icon, say } from "./dom.js";
import { instant, now, seconds } from "./format.js";
import { limitOf } from "./catalogue.js";

export const STATUSES = ["PENDING", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED"];
export const WORDS = {
  PENDING: "Pending",
  RETRYING: "Retrying",
  PROCESSING: "Running",
  COMPLETED: "Completed",
  FAILED: "Failed",
  CANCELLED: "Cancelled",
};

/** A task that failed, or lost its worker, and waits for its next attempt is not simply pending. */
function lookOf(task) {
  const again = task.status === "PENDING" && task.errors + task.crashes > 0;
  return again ? "RETRYING" : task.status;
}

/** What is said behind the word: which attempt comes, of how many, and how long it is until then. */
function notes(task) {
  const limit = limitOf(task);
  const which = task.errors ? `${task.errors + 1}/${limit ?? "?"}` : "";
  if (task.status === "PROCESSING") {
    const progress = task.progress === null ? "" : `${task.progress} %`;
    return [which, progress].filter(Boolean).join(" · ");
  }
  if (task.status !== "PENDING") return "";
  const wait = instant(task.run_at) - now();
  return [which, wait > 500 ? `in ${seconds(wait)}` : ""].filter(Boolean).join(" · ");
}

export function badge(look, words = WORDS[look]) {
  return h(`span.badge.${look.toLowerCase()}`, {}, icon(look.toLowerCase()), h("span", {}, words));
}

/** A badge that `setStatus` keeps up to date. */
export function statusCell() {
  return h("span.status", {}, h("span.slot"), h("span.note"));
}

export function setStatus(cell, task) {
  const look = lookOf(task);
  if (cell.dataset.look !== look) {
    cell.dataset.look = look;
    cell.firstElementChild.replaceChildren(badge(look));
  }
  say(cell.lastElementChild, notes(task));
}
