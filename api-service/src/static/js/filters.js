// What a list shows: filters as they stand in the address, in the API's query, and in an action.
import { instant, now } from "./format.js";

export const PRIORITIES = ["high", "normal", "low"];
const SPANS = { "15m": 15, "1h": 60, "24h": 1440, "7d": 10_080 };
//: The API cuts the class of an error to so many characters.
const ERROR_CLASS = 100;
const LISTS = ["status", "type", "priority"];
const SINGLE = ["q", "error", "created_after", "created_before"];

/** Read the filters of an address; `within` is a span up to now, such as `1h`. */
export function read(query) {
  const filters = { within: query.get("within") in SPANS ? query.get("within") : "" };
  for (const name of LISTS) filters[name] = query.getAll(name);
  for (const name of SINGLE) filters[name] = query.get(name) ?? "";
  return filters;
}

/** Write them as the API takes them; a span becomes the time at which it begins. */
export function forApi({ within, ...filters }) {
  const wanted = Object.fromEntries(Object.entries(filters).filter(([, value]) => value.length));
  if (within) wanted.created_after = new Date(now() - SPANS[within] * 60_000).toISOString();
  return wanted;
}

export const isSet = (filters) => Object.values(filters).some((value) => value.length);

/** Tell whether a task is one that the filters leave. */
export function fits(filters, task) {
  const at = instant(task.created_at);
  const wanted = forApi(filters);
  const error = (task.error ?? "").split(":", 1)[0].slice(0, ERROR_CLASS);
  return (
    LISTS.every((name) => !filters[name].length || filters[name].includes(task[name])) &&
    (!wanted.created_after || at >= Date.parse(wanted.created_after)) &&
    (!wanted.created_before || at < Date.parse(wanted.created_before)) &&
    (!wanted.error || error === wanted.error) &&
    (!wanted.q || task.task_id === wanted.q.trim() || hasWords(task.title, wanted.q))
  );
}

function hasWords(title, words) {
  const text = title.toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}
