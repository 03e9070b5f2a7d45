// A form for a task, with the request beside it.
import { ask, send } from "../api.js";
import { readTypes } from "../catalogue.js";
import { refused } from "../deeds.js";
import { h, say } from "../dom.js";
import { code, curl, panel, taskLink } from "../parts.js";
import { go } from "../router.js";
import { example } from "../schema.js";
import { guard } from "../session.js";
import { toast } from "../toast.js";
import { readBody, submission, unshown } from "./submit/body.js";
import { formFields } from "./submit/fields.js";
import { onceKeys } from "./submit/once.js";

const SIMULATE = { simulate: { seconds: 5 } };

export function show(main, query) {
  const { field, row, rest, blame, values, offerTypes } = formFields();
  const about = h("p.hint");
  const schema = schemaBox();
  const command = code("");
  const button = guard(h("button.primary", { type: "submit" }, "Submit task"), "submit");
  const start = h(
    "button.small",
    { type: "button", onclick: () => useExample() },
    "Use an example",
  );
  const form = h(
    "form.form.panel",
    { novalidate: true, onsubmit: submit, oninput: () => changed() },
    row("title"),
    row("description"),
    h("div.pair", {}, row("type", about), row("priority")),
    row("delay_seconds"),
    row("metadata", h("div.hint", {}, start, schema.element)),
    rest,
    h("div.buttons", {}, button),
  );
  const request = panel("The same with curl", null, command);
  request.classList.add("request");
  main.append(h("div.head", {}, h("h1", {}, "Submit a task")), h("div.columns", {}, form, request));

  const keyFor = onceKeys();
  let types = [];
  let kept = {};
  let offered = "";
  let tried = false;
  const type = () => types.find(({ name }) => name === field.type.value);
  const read = () => readBody(values(), type(), kept);

  function useExample() {
    const wanted = type()?.payload_schema;
    offered = JSON.stringify(wanted ? example(wanted) : SIMULATE, null, 2);
    field.metadata.value = offered;
    changed();
  }

  /** An empty field is no error before somebody tried to send it. */
  function changed() {
    const { body, wrong } = read();
    const early = ({ field: path, message }) =>
      path.startsWith("metadata.") || message !== "is required";
    blame(tried ? wrong : wrong.filter(early));
    command.write(curl("POST", "api/tasks", JSON.stringify(body, null, 2)));
    say(about, typeWords(type()));
    schema.write(type()?.payload_schema);
  }

  async function submit(event) {
    event.preventDefault();
    tried = true;
    const { body, wrong } = read();
    const first = blame(wrong);
    if (first) return first.focus();
    button.disabled = true;
    try {
      const headers = { "Idempotency-Key": keyFor(body) };
      const { task_id: id } = await send("POST", "api/tasks", body, { headers });
      toast("Submitted the task.");
      go(taskLink(id));
    } catch (problem) {
      tellRefusal(problem);
    } finally {
      button.disabled = false;
    }
    return undefined;
  }

  function tellRefusal(problem) {
    if (problem.status !== 400) return refused(problem, "submit");
    const first = blame(problem.errors);
    if (first) first.focus();
    else say(rest, problem.message);
    return undefined;
  }

  async function begin() {
    types = await readTypes();
    const names = [...new Set(["simulate", ...types.map(({ name }) => name)])].sort();
    offerTypes(names);
    field.type.value = names.includes(query.get("type")) ? query.get("type") : "simulate";
    if (query.get("from")) await clone(query.get("from"));
    else if (!field.metadata.value) useExample();
    changed();
  }

  async function clone(id) {
    const task = await ask(`api/tasks/${encodeURIComponent(id)}`);
    const body = submission(task);
    kept = unshown(task);
    for (const name of ["title", "description", "priority"]) field[name].value = body[name] ?? "";
    field.type.value = body.type ?? "simulate";
    field.metadata.value = body.metadata ? JSON.stringify(body.metadata, null, 2) : "";
  }

  // What was written by hand stays.
  field.type.addEventListener("change", () => field.metadata.value === offered && useExample());
  changed();
  begin().catch((problem) => refused(problem, "read"));
  return {};
}

function schemaBox() {
  const text = h("pre", { tabindex: "0", "aria-label": "JSON Schema" });
  const element = h("details.schema", {}, h("summary", {}, "JSON Schema of the payload"), text);
  function write(schema) {
    element.hidden = !schema;
    say(text, schema ? JSON.stringify(schema, null, 2) : "");
  }
  return { element, write };
}

function typeWords(type) {
  const alone = type && !type.live_workers ? "No live worker serves it: it will wait." : "";
  return [type?.description?.split("\n", 1)[0], alone].filter(Boolean).join(" ");
}
