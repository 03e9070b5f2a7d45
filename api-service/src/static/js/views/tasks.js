// The list: filters in the address, pages by cursor, rows that follow their tasks.
import { ask } from "../api.js";
import { readTypes } from "../catalogue.js";
import { changes } from "../changes.js";
import { h, keyed, say } from "../dom.js";
import { fits, forApi, isSet, read } from "../filters.js";
import { plural } from "../format.js";
import { SUBMIT, empty } from "../parts.js";
import { poll } from "../poll.js";
import { go, to } from "../router.js";
import { setStatus } from "../status.js";
import { eachSecond } from "../ticks.js";
import { bulkBar } from "./tasks/bulk.js";
import { filterBar } from "./tasks/filterbar.js";
import { taskRow, updateRow } from "./tasks/row.js";

const LIMIT = 50;
//: Rows that an untouched first page grows to before its oldest ones leave.
const MOST_ROWS = 50;

export function show(main, query) {
  const state = { filters: read(query), cursor: query.get("cursor"), tasks: [], next: null, fresh: new Map(), trail: [], stale: false };
  const rows = h("tbody");
  const bar = filterBar(state.filters, (filters) => go(to({ view: "tasks", ...filters })));
  const bulk = bulkBar({ selected: () => boxes().filter((box) => box.checked).map((box) => box.value), filters: () => state.filters, done: () => reading.soon() });
  const all = h("input", { type: "checkbox", "aria-label": "Select all on this page", onchange: () => select(all.checked) });
  const table = h("div.panel.flush", {}, h("table.list.tasks", { "aria-label": "Tasks, newest first" },
    h("thead", {}, h("tr", {}, h("th.check", {}, all), ...["Status", "Title"].map((word) => h("th", {}, word)),
      ...["Type", "Priority"].map((word) => h("th.wide", {}, word)), h("th.wide.num", {}, "Wait"), h("th.wide.num", {}, "Run"), h("th.num", {}, "Created"))), rows));
  const nothing = h("div", { hidden: true });
  const newer = h("button.pill", { type: "button", hidden: true, onclick: () => (state.cursor ? go(address(null)) : reading.soon()) });
  const searched = h("p.muted");
  const pages = {
    newest: h("a.button", {}, "Newest"),
    back: h("button", { type: "button", onclick: () => history.back() }, "Newer"),
    older: h("a.button", {}, "Older"),
  };
  const pager = h("nav.pager", { "aria-label": "Pages" }, searched, h("span.buttons", {}, pages.newest, pages.back, pages.older));
  main.append(h("div.head", {}, h("h1", {}, "Tasks"), newer), bar.element, bulk.element, table, nothing, pager);

  const boxes = () => [...rows.querySelectorAll("input")];
  const select = (on) => {
    for (const box of boxes()) box.checked = on;
    marked();
  };
  const marked = () => {
    const some = boxes();
    const chosen = some.filter((box) => box.checked).length;
    all.checked = chosen > 0 && chosen === some.length;
    all.indeterminate = chosen > 0 && chosen < some.length;
    bulk.tell(chosen, all.checked);
  };
  rows.addEventListener("change", marked);

  const address = (cursor) => to({ view: "tasks", ...state.filters, cursor });
  let turn = 0;
  const reading = poll(readPage, 30, 0.5);

  async function readPage() {
    const mine = (turn += 1);
    const page = await ask("api/tasks", { query: { ...forApi(state.filters), cursor: state.cursor, limit: LIMIT } });
    if (mine !== turn) return;
    const types = await readTypes();
    bar.offerTypes(types.map((type) => type.name));
    if (mine !== turn) return;
    Object.assign(state, { tasks: page.tasks, next: page.next, fresh: new Map() });
    say(searched, page.searched ? searchedWords(page) : "");
    draw();
  }

  function draw() {
    keyed(rows, state.tasks, (task) => task.task_id, taskRow, (row, task) => updateRow(row, task, fits(state.filters, task)));
    table.hidden = !state.tasks.length;
    nothing.hidden = state.tasks.length > 0;
    if (!state.tasks.length) nothing.replaceChildren(nothingThere(state));
    newer.hidden = !state.fresh.size;
    say(newer, `Show ${plural(state.fresh.size, "newer task")}`);
    pages.newest.hidden = !state.cursor;
    pages.back.hidden = !state.trail.includes(state.cursor);
    pages.newest.href = address(null);
    pages.older.href = address(state.next);
    pages.older.hidden = !state.next;
    marked();
  }

  function onTasks(changed) {
    const places = new Map(state.tasks.map((task, n) => [task.task_id, n]));
    let moved = false;
    for (const task of changed) {
      const n = places.get(task.task_id);
      if (n !== undefined) {
        state.tasks[n] = task;
        updateRow(rows.children[n], task, fits(state.filters, task));
      } else if (!state.cursor && isNewer(task) && fits(state.filters, task)) {
        state.fresh.set(task.task_id, task);
        moved = true;
      }
    }
    if (moved && isUntouched()) takeFresh();
    if (moved) draw();
  }

  const isNewer = (task) => !state.tasks.length || task.task_id > state.tasks[0].task_id;
  // Nothing moves under a pointer, a focus or a selection.
  const isUntouched = () => !rows.matches(":hover") && !rows.contains(document.activeElement) && !boxes().some((box) => box.checked) && scrollY < 200;

  function takeFresh() {
    const fresh = [...state.fresh.values()].sort((a, b) => (a.task_id < b.task_id ? 1 : -1));
    const kept = [...fresh, ...state.tasks];
    state.tasks = kept.slice(0, MOST_ROWS);
    if (kept.length > MOST_ROWS) state.next = state.tasks.at(-1).task_id.replaceAll("-", "");
    state.fresh = new Map();
  }

  const stops = [
    changes.listen({ onTasks, onReset: () => reading.soon() }),
    eachSecond(() => state.tasks.forEach((task, n) => task.status === "PENDING" && rows.children[n] && setStatus(rows.children[n].querySelector(".status"), task))),
    reading.stop,
  ];

  return {
    stop: () => stops.forEach((stop) => stop()),
    update(query_) {
      const cursor = query_.get("cursor");
      const filters = read(query_);
      const same = JSON.stringify(filters) === JSON.stringify(state.filters);
      state.trail = same && cursor && !state.trail.includes(cursor) ? [...state.trail, cursor] : same ? state.trail : [];
      Object.assign(state, { filters, cursor });
      bar.set(filters);
      select(false);
      turn += 1;
      reading.now();
    },
  };
}

function searchedWords({ searched, next }) {
  const rows = plural(searched.rows, "task");
  return `Looked through ${rows}${next ? "; Older goes on." : ", all that the other filters leave."}`;
}

function nothingThere({ filters, cursor, next }) {
  if (next) return h("div.empty", {}, h("h2", {}, "None found so far"), h("p", {}, "Words are looked for piece by piece. Older goes on with the search."));
  if (cursor) return h("div.empty", {}, h("h2", {}, "No older tasks"));
  if (!isSet(filters)) return empty("No task yet", "Submit one with the form, or from a terminal:", SUBMIT());
  return h("div.empty", {}, h("h2", {}, "No task fits"), h("p", {}, h("a", { href: "?view=tasks" }, "Clear the filters")));
}
