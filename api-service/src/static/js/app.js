// Where it begins: shows the view that the address names, and keeps what is around it.
import { answers } from "./api.js";
import { changes } from "./changes.js";
import { h } from "./dom.js";
import { askForKey, setUpKey } from "./keys.js";
import { notice, watchAnswers } from "./notices.js";
import { params, place } from "./router.js";
import { startSystem } from "./system.js";
import { setUpTheme } from "./themes.js";

const VIEWS = {
  overview: () => import("./views/overview.js"),
  tasks: () => import("./views/tasks.js"),
  task: () => import("./views/task.js"),
  failures: () => import("./views/failures.js"),
  workers: () => import("./views/workers.js"),
  submit: () => import("./views/submit.js"),
};
//: After the first paint, which the other views are not needed for.
const PRELOAD_MS = 3000;
const main = document.getElementById("main");
let current = { name: null, view: null };
let latest = 0;

async function showPlace() {
  const query = params();
  const name = query.get("view") ?? "overview";
  // A view that stays may keep what is typed and selected in it.
  if (name === current.name && current.view?.update) return current.view.update(query);
  const turn = (latest += 1);
  const module = Object.hasOwn(VIEWS, name) ? await VIEWS[name]() : { show: showUnknown };
  if (turn !== latest) return undefined;
  const moved = current.name !== null;
  current.view?.stop?.();
  main.replaceChildren();
  document.title = "Task queue";
  current = { name, view: module.show(main, query) };
  mark(name === "task" ? "tasks" : name);
  if (moved) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  return undefined;
}

function mark(name) {
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function showUnknown(box) {
  box.append(
    h(
      "div.empty",
      {},
      h("h1", {}, "There is no such view"),
      h("p", {}, h("a", { href: "?view=overview" }, "To the overview")),
    ),
  );
  return {};
}

/** After another key all is asked for anew. */
function begin() {
  current.view?.stop?.();
  current = { name: current.name === null ? null : "", view: null };
  startSystem();
  changes.restart();
  showPlace();
}

function tellBroken() {
  notice("page", {
    tone: "bad",
    title: "The page broke.",
    words: "Load it again. If that does not help, the API's log may say why.",
  });
}

addEventListener("error", tellBroken);
addEventListener("unhandledrejection", tellBroken);
// Views can be gone to while the API is away.
setTimeout(() => Promise.allSettled(Object.values(VIEWS).map((load) => load())), PRELOAD_MS);
setUpTheme(document.getElementById("theme"));
setUpKey(document.getElementById("key"), begin);
watchAnswers();
answers.addEventListener("answer", ({ detail }) => {
  if (detail.problem?.status === 401) askForKey(detail.problem);
});
place.addEventListener("change", showPlace);
addEventListener("keydown", (event) => {
  const typing =
    event.target instanceof Element && event.target.closest("input, textarea, select, dialog");
  const search = document.getElementById("search");
  if (event.key === "/" && !typing && search) {
    event.preventDefault();
    search.focus();
  }
});
begin();
