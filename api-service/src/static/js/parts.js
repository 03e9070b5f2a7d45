// Small things that several views show.
import { h } from "./dom.js";
import { toast } from "./toast.js";

export const taskLink = (id) => `?view=task&id=${encodeURIComponent(id)}`;

/** A box with a name; `more` stands at the right of it. */
export function panel(name, more, ...children) {
  return h("section.panel", {}, h("div.panel-head", {}, h("h2", {}, name), more), children);
}

/** A table; a column is its words, with `.num` or `.wide` behind them. */
export function table(columns, body, attributes = {}) {
  const heads = columns.map((column) => {
    const [words, ...looks] = column.split(".");
    return h(["th", ...looks].join("."), {}, words || h("span.hidden", {}, "Actions"));
  });
  return h("table", attributes, h("thead", {}, h("tr", {}, heads)), body);
}

/** What a view shows where there is nothing, with the command that changes that. */
export function empty(title, words, command) {
  return h("div.empty", {}, h("h2", {}, title), h("p", {}, words), command ? code(command) : null);
}

/** A command to paste, with a button that copies it. */
export function code(command) {
  const text = h("code", {}, command);
  const block = h(
    "div.command",
    {},
    h("pre", { tabindex: "0", "aria-label": "Command" }, text),
    copyButton("Copy", () => text.textContent),
  );
  return Object.assign(block, { write: (other) => (text.textContent = other) });
}

export function copyButton(words, text, look = ".small") {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
      toast("Copied.");
    } catch {
      toast("The browser does not let the page copy; select the text and copy it.", { bad: true });
    }
  };
  return h(`button${look}`, { type: "button", onclick: copy }, words);
}

/** Write a request as curl, to be pasted into a shell; `body` is JSON text. */
export function curl(method, path, body) {
  const url = new URL(path, document.baseURI).href;
  const parts = [
    `curl -s ${method === "GET" || (method === "POST" && body) ? "" : `-X ${method} `}${quoted(url)}`,
  ];
  if (body) parts.push("-H 'Content-Type: application/json'", `-d ${quoted(body)}`);
  return parts.join(" \\\n  ");
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

export const SUBMIT = () =>
  curl("POST", "api/tasks", '{"title": "Hello", "description": "My first task"}');
