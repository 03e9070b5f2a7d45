// Small things that several views show.
import { h } from "./dom.js";
import { toast } from "./toast.js";

export const taskLink = (id) => `?view=task&id=${encodeURIComponent(id)}`;

/** What a view shows where there is nothing, with the command that changes that. */
export function empty(title, words, command) {
  return h("div.empty", {}, h("h2", {}, title), h("p", {}, words), command ? code(command) : null);
}

/** A command to paste, with a button that copies it. */
export function code(command) {
  const text = h("code", {}, command);
  const block = h("div.command", {}, h("pre", { tabindex: "0", "aria-label": "Command" }, text),
    copyButton("Copy", () => text.textContent));
  return Object.assign(block, { write: (other) => (text.textContent = other) });
}

export function copyButton(words, text) {
  return h("button.small", { type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text());
      toast("Copied.");
    } catch {
      toast("The browser does not let the page copy; select the text and copy it.", { bad: true });
    }
  } }, words);
}

/** Write a request as curl, to be pasted into a shell; `body` is JSON text. */
export function curl(method, path, body) {
  const url = new URL(path, document.baseURI).href;
  const parts = [`curl -s ${method === "GET" || (method === "POST" && body) ? "" : `-X ${method} `}${quoted(url)}`];
  if (body) parts.push("-H 'Content-Type: application/json'", `-d ${quoted(body)}`);
  return parts.join(" \\\n  ");
}

export const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

export const SUBMIT = () => curl("POST", "api/tasks", '{"title": "Hello", "description": "My first task"}');
