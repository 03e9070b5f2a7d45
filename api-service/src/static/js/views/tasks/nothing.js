// In place of the rows, where there are none: why, and what to do.
import { h } from "../../dom.js";
import { isSet } from "../../filters.js";
import { SUBMIT, empty } from "../../parts.js";

export function nothingThere({ filters, cursor, next, refusal }) {
  const clear = h("a", { href: "?view=tasks" }, "Clear the filters");
  if (refusal) return box("The API does not take these filters", refusal, clear);
  if (next) return box("None found so far", "Words are looked for piece by piece. Older goes on.");
  if (cursor) return box("No older tasks");
  if (isSet(filters)) return box("No task fits", clear);
  return empty("No task yet", "Submit one with the form, or from a terminal:", SUBMIT());
}

function box(title, ...lines) {
  return h("div.empty", {}, h("h2", {}, title), ...lines.map((line) => h("p", {}, line)));
}
