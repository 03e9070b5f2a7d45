// API keys: asked for where the API wants one, kept for this tab, and shown for what they may do.
import { send } from "./api.js";
import { h } from "./dom.js";
import { notice } from "./notices.js";
import { key, rights } from "./session.js";
import { inquire } from "./toast.js";

const NOBODY = "api/tasks/00000000-0000-0000-0000-000000000000";
//: Requests that change nothing whoever may make them; only 403 tells something.
const PROBES = {
  submit: ["POST", "api/tasks", {}],
  cancel: ["POST", `${NOBODY}/cancel`],
  retry: ["POST", `${NOBODY}/retry`],
  delete: ["DELETE", NOBODY],
  webhook: ["POST", `${NOBODY}/webhook`],
  bulk: [
    "POST",
    "api/tasks/actions",
    { action: "cancel", task_ids: [NOBODY.slice(-36)], dry_run: true },
  ],
};
let asking = false;
let begin = () => {};

/** `restart` is called when another key, or none, is used. */
export function setUpKey(button, restart) {
  begin = () => {
    button.hidden = !key.get();
    notice("key", null);
    rights.reset();
    restart();
    if (key.get()) probe();
  };
  button.hidden = !key.get();
  button.addEventListener("click", () => {
    key.forget();
    begin();
  });
  if (key.get()) probe();
}

/** Ask for a key, unless that is being done; the page begins anew with it. */
export async function askForKey(problem) {
  // What was asked before the key was given is refused after it.
  if (asking || problem.key !== key.get()) return;
  asking = true;
  const again = h("button", { type: "button", onclick: () => askForKey(problem) }, "Enter a key");
  notice("key", {
    tone: "bad",
    title: "The API asks for a key (401).",
    words: problem.message,
    actions: [again],
  });
  const had = Boolean(key.get());
  const field = h("input", {
    name: "key",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    autofocus: true,
    "aria-label": "API key",
  });
  const data = await inquire({
    title: had ? "This key is not accepted" : "The API asks for a key",
    body: [
      h(
        "p",
        {},
        "Whoever runs the API gives them out. It is kept in this tab only, until the tab is closed, and sent with each request.",
      ),
      field,
    ],
    yes: "Use this key",
  });
  asking = false;
  const given = data?.get("key")?.trim();
  if (!given) return;
  key.set(given);
  begin();
}

/** Find out what the key may not do, so that it need not be tried. */
async function probe() {
  await Promise.all(
    Object.entries(PROBES).map(async ([deed, [method, path, body]]) => {
      try {
        await send(method, path, body, { quiet: true });
      } catch (problem) {
        if (problem.status === 403) rights.refuse(deed, problem.message);
      }
    }),
  );
}
