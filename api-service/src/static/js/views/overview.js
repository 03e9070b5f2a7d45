// The whole at one look: parts that each know how to show what was read.
import { h, say } from "../dom.js";
import { clock } from "../format.js";
import { SUBMIT, empty } from "../parts.js";
import { STATUSES } from "../status.js";
import { onSystem } from "../system.js";
import { charts, tiles } from "./overview/figures.js";
import { failuresPanel, timesPanel, typesPanel, workersPanel } from "./overview/panels.js";

export function show(main) {
  const top = [heading(), nothingYet(), tiles(), charts()];
  const left = [workersPanel()];
  const right = [timesPanel(), failuresPanel(), typesPanel()];
  const elements = (parts) => parts.map((part) => part.element);
  const columns = [h("div.stack", {}, elements(left)), h("div.stack", {}, elements(right))];
  main.append(...elements(top), h("div.columns", {}, columns));
  const stop = onSystem((system) => {
    for (const part of [...top, ...left, ...right]) part.update(system);
  });
  return { stop };
}

function heading() {
  const aside = h("p.aside");
  const element = h("div.head", {}, h("h1", {}, "Overview"), aside);
  return { element, update: ({ stats }) => say(aside, servers(stats)) };
}

function servers({ broker, database }) {
  const since = ({ state, since: at }) => `${state}${at ? ` since ${clock(at)}` : ""}`;
  const rabbit =
    broker.state === "none" ? "No broker: workers read the table" : `Broker ${since(broker)}`;
  return `Database ${since(database)} · ${rabbit}`;
}

function nothingYet() {
  const words = "Submit the first one with the form, or from a terminal:";
  const element = h("div", { hidden: true }, empty("No task yet", words, SUBMIT()));
  function update({ stats }) {
    element.hidden = STATUSES.some((status) => stats.by_status[status].count);
  }
  return { element, update };
}
