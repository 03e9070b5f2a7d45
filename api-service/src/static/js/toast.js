// Short messages at the edge of the page, and questions in the middle of it.
import { h } from "./dom.js";

const SHOWN_MS = 6000;

/** Tell what came of a deed; `bad` ones stay until they are closed. */
export function toast(words, { bad = false } = {}) {
  const box = document.getElementById("toasts");
  const close = h("button.close", { type: "button", "aria-label": "Close the message" }, "×");
  const message = h(`div.toast${bad ? ".bad" : ""}`, {}, h("span", {}, words), close);
  close.addEventListener("click", () => message.remove());
  while (box.children.length >= 3) box.firstElementChild.remove();
  box.append(message);
  if (!bad) setTimeout(() => message.remove(), SHOWN_MS);
}

/** Ask in a dialog; resolves to the form's data, or null where it was closed. */
export function inquire({ title, body, yes, danger = false, no = "Not now" }) {
  const dialog = h("dialog.dialog", { "aria-labelledby": "dialog-title" });
  const confirm = h(`button.${danger ? "danger" : "primary"}`, { type: "submit" }, yes ?? "");
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id: "dialog-title" }, title),
    h("div.dialog-body", {}, body),
    h(
      "div.buttons",
      {},
      h("button", { type: "button", onclick: () => dialog.close() }, no),
      yes ? confirm : null,
    ),
  );
  dialog.append(form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let answer = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      answer = new FormData(form);
      dialog.close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? (yes ? confirm : form.querySelector("button"))).focus();
  });
}
