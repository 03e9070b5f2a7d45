// Filters as a form; each change goes into the address.
import { h } from "../../dom.js";
import { PRIORITIES, isSet } from "../../filters.js";
import { instant } from "../../format.js";
import { STATUSES, WORDS } from "../../status.js";

const SPAN_WORDS = {
  "": "Any time",
  "15m": "Last 15 minutes",
  "1h": "Last hour",
  "24h": "Last 24 hours",
  "7d": "Last 7 days",
  between: "Between …",
};
//: After the last key; a search for words is the one list that costs something.
const TYPING_MS = 350;

/** `onChange(filters)` is called with what is wanted now. */
export function filterBar(filters, onChange) {
  let wanted = filters;
  let timer = null;
  const change = (part) => {
    clearTimeout(timer);
    onChange({ ...wanted, ...part });
  };

  const search = h("input.search", {
    id: "search",
    type: "search",
    placeholder: "Title words or id",
    "aria-label": "Search by words of the title, or by id",
    maxlength: 255,
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(() => change({ q: search.value.trim() }), TYPING_MS);
    },
  });
  const statuses = STATUSES.map((status) =>
    toggle(WORDS[status], () => change({ status: flipped(wanted.status, status) })),
  );
  const type = h("select", {
    "aria-label": "Type",
    onchange: () => change({ type: type.value ? [type.value] : [] }),
  });
  const priority = h(
    "select",
    {
      "aria-label": "Priority",
      onchange: () => change({ priority: priority.value ? [priority.value] : [] }),
    },
    option("", "Any priority"),
    PRIORITIES.map((name) => option(name, name)),
  );
  const span = h(
    "select",
    { "aria-label": "Time", onchange: () => spanChosen() },
    Object.entries(SPAN_WORDS).map(([value, words]) => option(value, words)),
  );
  const [from, until] = ["Created after", "Created before"].map((label, n) =>
    h("input", {
      type: "datetime-local",
      "aria-label": label,
      onchange: (event) =>
        change({ within: "", [n ? "created_before" : "created_after"]: iso(event.target.value) }),
    }),
  );
  const between = h("span.between", { hidden: true }, from, "–", until);
  const error = h("button.chip", { type: "button", onclick: () => change({ error: "" }) });
  const clear = h("a.clear", { href: "?view=tasks" }, "Clear");
  const element = h(
    "form.filters",
    {
      role: "search",
      "aria-label": "Filters",
      onsubmit: (event) => {
        event.preventDefault();
        change({ q: search.value.trim() });
      },
    },
    search,
    h("span.toggles", { role: "group", "aria-label": "Status" }, statuses),
    type,
    priority,
    span,
    between,
    error,
    clear,
  );

  function spanChosen() {
    between.hidden = span.value !== "between";
    if (between.hidden) change({ within: span.value, created_after: "", created_before: "" });
    else from.focus();
  }

  function set(now) {
    wanted = now;
    if (document.activeElement !== search) search.value = now.q;
    STATUSES.forEach((status, n) =>
      statuses[n].setAttribute("aria-pressed", now.status.includes(status)),
    );
    offerTypes(types());
    priority.value = now.priority.length === 1 ? now.priority[0] : "";
    const isBetween = Boolean(now.created_after || now.created_before);
    span.value = isBetween ? "between" : now.within;
    between.hidden = !isBetween;
    from.value = local(now.created_after);
    until.value = local(now.created_before);
    error.hidden = !now.error;
    error.textContent = `Error: ${now.error} ×`;
    error.setAttribute("aria-label", `Error ${now.error}: remove this filter`);
    clear.hidden = !isSet(now);
  }

  const types = () => [...type.options].map((one) => one.value).filter(Boolean);
  function offerTypes(names) {
    const all = [...new Set([...names, ...wanted.type])].sort();
    if (all.join() !== types().join() || !type.options.length) {
      type.replaceChildren(option("", ""), ...all.map((name) => option(name, name)));
    }
    type.options[0].textContent =
      wanted.type.length > 1 ? `${wanted.type.length} types` : "Any type";
    type.value = wanted.type.length === 1 ? wanted.type[0] : "";
  }

  set(filters);
  return { element, set, offerTypes };
}

const option = (value, words) => h("option", { value }, words);
const toggle = (words, onclick) => h("button.toggle", { type: "button", onclick }, words);
const flipped = (list, one) =>
  list.includes(one) ? list.filter((other) => other !== one) : [...list, one];
const iso = (text) => (text ? new Date(text).toISOString() : "");

/** Write a time of the API as the browser's field takes it: local, to the minute. */
function local(text) {
  if (!text || Number.isNaN(instant(text))) return "";
  const date = new Date(instant(text));
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
