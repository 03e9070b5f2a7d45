// What can be done with a task, as buttons.
import { act, tellAgain } from "../../deeds.js";
import { h } from "../../dom.js";
import { copyButton, curl } from "../../parts.js";
import { go, to } from "../../router.js";
import { guard } from "../../session.js";
import { inquire, toast } from "../../toast.js";
import { submission } from "../submit/body.js";

const FINAL = ["COMPLETED", "FAILED", "CANCELLED"];
const OPEN_TO = {
  retry: ["FAILED", "CANCELLED"],
  cancel: ["PENDING", "PROCESSING"],
  delete: ["PENDING", ...FINAL],
};

export const isFinal = (task) => FINAL.includes(task.status);

/** `task()` is the task as it is known, `done(task)` is called after a deed, with what it is then. */
export function buttons(id, { task, done }) {
  const button = (look, words, deed, onclick) =>
    guard(h(`button${look}`, { type: "button", onclick }, words), deed);
  const all = {
    retry: button(".primary", "Retry", "retry", async () => done(await act("retry", id))),
    cancel: button("", "Cancel task", "cancel", async () => done(await act("cancel", id))),
    clone: button("", "Clone", "submit", () => go(to({ view: "submit", from: id }))),
    curl: copyButton("Copy as curl", () => asCurl(task()), ""),
    webhook: button("", "Send webhook again", "webhook", () => tellAgain(id)),
    delete: button(".danger", "Delete", "delete", () => remove(id)),
  };
  const element = h("span.buttons", {}, Object.values(all));
  function write({ status, callback_url: url }) {
    for (const [deed, statuses] of Object.entries(OPEN_TO)) {
      all[deed].hidden = !statuses.includes(status);
    }
    all.webhook.hidden = !url || !FINAL.includes(status);
  }
  return { element, write };
}

const asCurl = (task) => curl("POST", "api/tasks", JSON.stringify(submission(task)));

async function remove(id) {
  const sure = await inquire({
    title: "Delete this task?",
    body: h("p", {}, "It and its attempts are gone for good."),
    yes: "Delete it",
    danger: true,
  });
  if (!sure || (await act("delete", id)) === undefined) return;
  toast("Deleted the task.");
  go("?view=tasks", { replace: true });
}
