// Cancel, retry, delete, tell again: of one task, or of many after saying how many.
import { send } from "./api.js";
import { h, say } from "./dom.js";
import { number, plural } from "./format.js";
import { rights } from "./session.js";
import { inquire, toast } from "./toast.js";

const DONE = { retry: "Retried", cancel: "Cancelled", delete: "Deleted" };
const ASK = { retry: "Retry", cancel: "Cancel", delete: "Delete" };
const MEANS = {
  retry: "They begin anew, and now: errors and crashes are forgotten, attempts stay in the list.",
  cancel: "What waits is cancelled at once; what runs is told to stop within seconds.",
  delete: "They and their attempts are gone for good. This cannot be undone.",
};
const LEFT = { told: "being cancelled already", unknown: "no longer there" };
//: Ids that one request may name.
const MOST_IDS = 1000;

/** Do it to one task; returns the task as it is then, null for a deleted one, undefined if refused. */
export async function act(action, id) {
  const [method, path] = action === "delete" ? ["DELETE", ""] : ["POST", `/${action}`];
  try {
    return await send(method, `api/tasks/${id}${path}`);
  } catch (problem) {
    refused(problem, action);
    return undefined;
  }
}

/** Have a task's `callback_url` told of its end once more. */
export async function tellAgain(id) {
  try {
    await send("POST", `api/tasks/${id}/webhook`);
    toast("The webhook is sent again.");
  } catch (problem) {
    refused(problem, "webhook");
  }
}

/** Count with a dry run, ask, then do it. `target` is `{filter}` or `{ids}`; true if it was done. */
export async function actOnMany(action, target) {
  try {
    const counted = await run(action, target, true);
    if (!counted.count) {
      toast(`There is nothing to ${action} among them.${skippedWords(counted.skipped)}`);
      return false;
    }
    const tasks = plural(counted.count, "task");
    const more = target.ids ? "" : " What comes to match until you confirm is included.";
    const answer = await inquire({
      title: `${ASK[action]} ${tasks}?`,
      body: [
        h("p", {}, MEANS[action]),
        h("p.muted", {}, `Counted by a dry run just now.${more}${skippedWords(counted.skipped)}`),
      ],
      yes: `${ASK[action]} ${tasks}`,
      danger: action === "delete",
    });
    if (!answer) return false;
    const done = await run(action, target, false);
    toast(`${DONE[action]} ${plural(done.count, "task")}.${skippedWords(done.skipped)}`);
    return true;
  } catch (problem) {
    refused(problem, "bulk");
    return false;
  }
}

/** Tell why a deed was refused, and remember it where it is a matter of the key. */
export function refused(problem, deed) {
  if (problem.status === undefined) throw problem;
  if (problem.status === 403) rights.refuse(deed, problem.message);
  if (problem.status !== 401) toast(problem.message, { bad: true });
}

/** Send the action, piece by piece, until all is done. */
async function run(action, { filter, ids }, dryRun) {
  const total = { count: 0, skipped: {} };
  const box = progressBox(dryRun ? "Counting" : ASK[action]);
  try {
    if (ids) {
      for (let from = 0; from < ids.length; from += MOST_IDS) {
        add(
          total,
          await send("POST", "api/tasks/actions", {
            action,
            task_ids: ids.slice(from, from + MOST_IDS),
            dry_run: dryRun,
          }),
        );
        box.tell(total.count);
      }
      return total;
    }
    let cursor;
    do {
      const done = await send("POST", "api/tasks/actions", {
        action,
        filter,
        cursor,
        dry_run: dryRun,
      });
      add(total, done);
      cursor = done.next ?? undefined;
      box.tell(total.count);
    } while (cursor);
    return total;
  } finally {
    box.close();
  }
}

function add(total, { count, skipped }) {
  total.count += count;
  for (const [reason, some] of Object.entries(skipped))
    total.skipped[reason] = (total.skipped[reason] ?? 0) + some;
}

function skippedWords(skipped) {
  const parts = Object.entries(skipped).map(
    ([reason, some]) => `${number(some)} ${LEFT[reason] ?? reason}`,
  );
  return parts.length ? ` Left as they are: ${parts.join(", ")}.` : "";
}

/** A long action says how far it is; a short one is over before that. */
function progressBox(words) {
  const box = h("div.toast", {});
  const timer = setTimeout(() => document.getElementById("toasts").append(box), 400);
  return {
    tell: (count) => say(box, `${words}: ${number(count)} so far…`),
    close: () => {
      clearTimeout(timer);
      box.remove();
    },
  };
}
