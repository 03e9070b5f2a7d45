// What can be done to the selected rows, or to all that the filters leave.
import { actOnMany } from "../../deeds.js";
import { h, say } from "../../dom.js";
import { forApi, isSet } from "../../filters.js";
import { plural } from "../../format.js";
import { guard } from "../../session.js";
import { STATUSES } from "../../status.js";

const ACTIONS = { retry: "Retry", cancel: "Cancel", delete: "Delete" };

/** `selected()` and `filters()` tell what is meant now, `done()` is called after an action. */
export function bulkBar({ selected, filters, done }) {
  const words = h("span.chosen");
  const everything = h("input", { type: "checkbox", onchange: () => tell(count, isPage) });
  const label = h("label.everything", {}, everything, h("span"));
  const buttons = Object.entries(ACTIONS).map(([action, name]) =>
    guard(
      h(
        `button.small${action === "delete" ? ".danger" : ""}`,
        { type: "button", onclick: () => act(action) },
        name,
      ),
      "bulk",
    ),
  );
  const element = h(
    "div.bulk",
    { hidden: true, role: "group", "aria-label": "Selected tasks" },
    words,
    label,
    h("span.buttons", {}, buttons),
  );
  let count = 0;
  let isPage = false;

  async function act(action) {
    const target = everything.checked ? { filter: whole(filters()) } : { ids: selected() };
    if (await actOnMany(action, target)) {
      everything.checked = false;
      done();
    }
  }

  /** `chosen` rows are selected; `isPage`: all that are shown. */
  function tell(chosen, page) {
    count = chosen;
    isPage = page;
    if (!page) everything.checked = false;
    element.hidden = !chosen;
    label.hidden = !page;
    say(label.lastElementChild, isSet(filters()) ? "all that match the filters" : "all tasks");
    say(words, everything.checked ? "All that match" : `${plural(chosen, "task")} selected`);
  }
  return { element, tell };
}

/** An action's filter must name something; who means all names every status. */
function whole(filters) {
  const wanted = forApi(filters);
  return Object.keys(wanted).length ? wanted : { status: STATUSES };
}
