// JSON folded: a branch is made when it is opened, and long ones come in pieces.
import { h } from "./dom.js";
import { copyButton, panel } from "./parts.js";
import { shown } from "./text.js";

const PIECE = 100;
const LONG_TEXT = 2000;
//: Small enough to be opened from the start.
const OPEN_ENTRIES = 12;

/** Show a value with a name above it; null where there is none. */
export function jsonPanel(name, value) {
  if (value === null || value === undefined) return null;
  const copy = copyButton("Copy JSON", () => JSON.stringify(value, null, 2));
  const label = { tabindex: "0", role: "region", "aria-label": name };
  return panel(name, copy, h("div.json", label, node(null, value, 0)));
}

function node(name, value, depth) {
  if (value === null || typeof value !== "object")
    return h("div.leaf", {}, label(name), scalar(value));
  const entries = Object.entries(value);
  const [begin, end] = Array.isArray(value) ? "[]" : "{}";
  if (!entries.length) return h("div.leaf", {}, label(name), h("span.mark", {}, begin + end));
  const words = `${begin} ${entries.length} ${end}`;
  const inside = h("div.inside");
  const branch = h("details", {}, h("summary", {}, label(name), h("span.mark", {}, words)), inside);
  const fill = () => {
    if (!inside.children.length) more(inside, entries, Array.isArray(value), depth);
  };
  branch.addEventListener("toggle", fill);
  if (depth < 2 && entries.length <= OPEN_ENTRIES) {
    fill();
    branch.open = true;
  }
  return branch;
}

function more(inside, entries, isArray, depth, from = 0) {
  inside.querySelector(":scope > button")?.remove();
  for (const [name, value] of entries.slice(from, from + PIECE))
    inside.append(node(name, value, depth + 1));
  const left = entries.length - from - PIECE;
  if (left > 0) {
    inside.append(
      h(
        "button.small",
        { type: "button", onclick: () => more(inside, entries, isArray, depth, from + PIECE) },
        `${left} more`,
      ),
    );
  }
}

const label = (name) => (name === null ? null : h("span.name", {}, shown(name), ": "));

function scalar(value) {
  if (typeof value !== "string")
    return h(`span.${value === null ? "null" : typeof value}`, {}, String(value));
  const text = JSON.stringify(value);
  if (text.length <= LONG_TEXT) return h("span.string", {}, shown(text));
  const box = h("span.string", {}, shown(`${text.slice(0, LONG_TEXT)}…`));
  const all = () => box.replaceChildren(shown(text));
  box.append(h("button.small", { type: "button", onclick: all }, `all ${text.length} characters`));
  return box;
}
