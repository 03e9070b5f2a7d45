// The list: filters in the address, pages by cursor, rows that follow their tasks.
import { ask } from "../api.js";
import { readTypes } from "../catalogue.js";
import { changes } from "../changes.js";
import { h, say } from "../dom.js";
import { forApi, read } from "../filters.js";
import { plural } from "../format.js";
import { poll } from "../poll.js";
import { go, to } from "../router.js";
import { eachSecond } from "../ticks.js";
import { bulkBar } from "./tasks/bulk.js";
import { filterBar } from "./tasks/filterbar.js";
import { nothingThere } from "./tasks/nothing.js";
import { LIMIT, TaskPage } from "./tasks/page.js";
import { pager } from "./tasks/pager.js";
import { taskTable } from "./tasks/table.js";

//: Pixels that the window may be scrolled down for new rows to come in by themselves.
const TOP = 200;

export function show(main, query) {
  let page = new TaskPage(read(query), query.get("cursor"));
  // Cursors of pages that were gone to from here: the browser's history leads back.
  let trail = [];
  const address = (cursor) => to({ view: "tasks", ...page.filters, cursor });
  const bar = filterBar(page.filters, (filters) => go(to({ view: "tasks", ...filters })));
  const table = taskTable((count, isAll) => bulk.tell(count, isAll));
  const bulk = bulkBar({
    selected: table.selected,
    filters: () => page.filters,
    done: () => reading.soon(),
  });
  const pages = pager(address);
  const nothing = h("div");
  const newer = h("button.pill", { type: "button", hidden: true, onclick: () => reading.now() });
  const head = h("div.head", {}, h("h1", {}, "Tasks"), newer);
  main.append(head, bar.element, bulk.element, table.element, nothing, pages.element);
  table.element.hidden = true;
  const reading = poll(readPage, 30, 0.5);

  async function readPage() {
    const wanted = page;
    wanted.ask();
    const [answer, types] = await Promise.all([readTasks(wanted), readTypes()]);
    if (wanted !== page) return;
    bar.offerTypes(types.map((type) => type.name));
    page.take(answer);
    draw();
  }

  function draw() {
    if (!table.isTouched() && scrollY < TOP) page.takeFresh();
    table.draw(page);
    pages.draw(page, trail.includes(page.cursor));
    nothing.replaceChildren(...(page.tasks.length ? [] : [nothingThere(page)]));
    newer.hidden = !page.fresh.size;
    say(newer, `Show ${plural(page.fresh.size, "newer task")}`);
  }

  function onTasks(tasks) {
    const before = page.fresh.size;
    for (const task of tasks) {
      const n = page.change(task);
      if (n !== null) table.drawRow(n, task, page.filters);
    }
    if (page.fresh.size !== before) draw();
  }

  function update(newQuery) {
    const [filters, cursor] = [read(newQuery), newQuery.get("cursor")];
    const isSame = JSON.stringify(filters) === JSON.stringify(page.filters);
    trail = isSame ? [...trail, cursor] : [];
    page = new TaskPage(filters, cursor);
    bar.set(filters);
    table.select(false);
    reading.now();
  }

  const stops = [
    changes.listen({ onTasks, onReset: () => reading.soon() }),
    eachSecond(() => table.tick(page.tasks)),
    reading.stop,
  ];
  return { update, stop: () => stops.forEach((stop) => stop()) };
}

/** An address may hold what the API does not take; that is told in place of the rows. */
async function readTasks({ filters, cursor }) {
  try {
    return await ask("api/tasks", { query: { ...forApi(filters), cursor, limit: LIMIT } });
  } catch (problem) {
    if (problem.status !== 400) throw problem;
    return { tasks: [], next: null, refusal: problem.message };
  }
}
