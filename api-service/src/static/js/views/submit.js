// A form for a task, with the request beside it.
import { ask, send } from "../api.js";
import { readTypes } from "../catalogue.js";
import { refused } from "../deeds.js";
import { h, say } from "../dom.js";

import { code, curl, taskLink } from "../parts.js";
import { PRIORITIES } from "../filters.js";
import { go } from "../router.js";
import { check, example } from "../schema.js";
import { guard } from "../session.js";
import { toast } from "../toast.js";
import { submission } from "./task.js";

const SIMULATE = { simulate: { seconds: 5 } };
const FIELDS = ["title", "description", "type", "priority", "delay_seconds", "metadata"];

export function show(main, query) {
  let types = [];
  let kept = {};
  const field = {
    title: h("input", { id: "f-title", maxlength: 255, required: true, autocomplete: "off" }),
    description: h("textarea", { id: "f-description", rows: 3, required: true }),
    type: h("select", { id: "f-type" }, h("option", { value: "simulate" }, "simulate")),
    priority: h("select", { id: "f-priority" }, h("option", { value: "" }, "as the payload says, else normal"), PRIORITIES.map((name) => h("option", { value: name }, name))),
    delay_seconds: h("input", { id: "f-delay_seconds", inputmode: "decimal", autocomplete: "off", placeholder: "0" }),
    metadata: h("textarea.mono", { id: "f-metadata", rows: 10, spellcheck: "false", autocomplete: "off" }),
  };
  const errors = Object.fromEntries(FIELDS.map((name) => [name, h("p.field-error", { id: `e-${name}` })]));
  const about = h("p.hint");
  const schema = h("pre", { tabindex: "0", "aria-label": "JSON Schema" });
  const schemaBox = h("details.schema", { hidden: true }, h("summary", {}, "JSON Schema of the payload"), schema);
  const command = code("");
  const whole = h("p.field-error", { role: "alert" });
  const button = guard(h("button.primary", { type: "submit" }, "Submit task"), "submit");
  const start = h("button.small", { type: "button", onclick: () => useSample() }, "Use an example");
  const form = h("form.form.panel", { novalidate: true, onsubmit: submit, oninput: () => changed() },
    row("Title", "title"), row("Description", "description"),
    h("div.pair", {}, row("Type", "type", about), row("Priority", "priority")),
    row("Delay in seconds", "delay_seconds"),
    row("Payload (JSON)", "metadata", h("div.hint", {}, start, schemaBox)), whole, h("div.buttons", {}, button));
  main.append(h("div.head", {}, h("h1", {}, "Submit a task")),
    h("div.columns", {}, form, h("section.panel.request", {}, h("div.panel-head", {}, h("h2", {}, "The same with curl")), command)));

  function row(words, name, ...more) {
    field[name].setAttribute("aria-describedby", `e-${name}`);
    return h("div.field", {}, h("label", { for: `f-${name}` }, words), field[name], errors[name], more);
  }

  const type = () => types.find(({ name }) => name === field.type.value);
  let offered = "";

  function useSample() {
    offered = JSON.stringify(type()?.payload_schema ? example(type().payload_schema) : SIMULATE, null, 2);
    field.metadata.value = offered;
    changed();
  }

  /** Return the body and what is wrong with it. */
  function read() {
    const { metadata, ...rest } = Object.fromEntries(FIELDS.map((name) => [name, field[name].value]));
    const body = { ...kept, title: rest.title, description: rest.description };
    const wrong = [];
    if (rest.type !== "simulate") body.type = rest.type;
    if (rest.priority) body.priority = rest.priority;
    if (rest.delay_seconds.trim()) {
      body.delay_seconds = Number(rest.delay_seconds);
      if (!(body.delay_seconds >= 0)) wrong.push({ field: "delay_seconds", message: "must be a number of seconds, 0 or more" });
    }
    if (!body.title.trim()) wrong.push({ field: "title", message: "is required" });
    if (!body.description.trim()) wrong.push({ field: "description", message: "is required" });
    try {
      if (metadata.trim()) body.metadata = JSON.parse(metadata);
      if (type()?.payload_schema) wrong.push(...check(type().payload_schema, body.metadata ?? {}));
      else if (body.metadata !== undefined && (typeof body.metadata !== "object" || Array.isArray(body.metadata))) wrong.push({ field: "metadata", message: "must be a JSON object" });
    } catch (error) {
      wrong.push({ field: "metadata", message: `is no JSON: ${error.message}` });
    }
    return { body, wrong };
  }

  /** Payload errors are told while typing; those of empty fields once one has tried. */
  function changed() {
    const { body, wrong } = read();
    tell(wrong.filter(({ field: name }) => name.startsWith("metadata") || name === "delay_seconds"));
    command.write(curl("POST", "api/tasks", JSON.stringify(body, null, 2)));
    const chosen = type();
    say(about, [chosen?.description?.split("\n", 1)[0], chosen && !chosen.live_workers ? "No live worker serves it: it will wait." : ""].filter(Boolean).join(" "));
    schemaBox.hidden = !chosen?.payload_schema;
    say(schema, chosen?.payload_schema ? JSON.stringify(chosen.payload_schema, null, 2) : "");
  }

  function tell(wrong) {
    const of = (name) => wrong.filter(({ field: path }) => path === name || path.startsWith(`${name}.`));
    for (const name of FIELDS) {
      const lines = of(name).map(({ field: path, message }) => `${path === name ? "" : `${path.slice(name.length + 1)} `}${message}`);
      say(errors[name], lines.join("; "));
      if (lines.length) field[name].setAttribute("aria-invalid", "true");
      else field[name].removeAttribute("aria-invalid");
    }
    say(whole, wrong.filter(({ field: path }) => !FIELDS.includes(path.split(".")[0])).map(({ field: path, message }) => `${path} ${message}`).join("; "));
    return FIELDS.find((name) => of(name).length);
  }

  async function submit(event) {
    event.preventDefault();
    const { body, wrong } = read();
    const first = tell(wrong);
    if (first) return field[first].focus();
    button.disabled = true;
    try {
      const { task_id: id } = await send("POST", "api/tasks", body);
      toast("Submitted the task.");
      return go(taskLink(id));
    } catch (problem) {
      if (problem.status !== 400) return refused(problem, "submit");
      const place = tell(problem.errors);
      if (place) field[place].focus();
      else say(whole, problem.message);
      return undefined;
    } finally {
      button.disabled = false;
    }
  }

  async function begin() {
    types = await readTypes();
    const names = [...new Set(["simulate", ...types.map(({ name }) => name)])].sort();
    field.type.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
    field.type.value = names.includes(query.get("type")) ? query.get("type") : "simulate";
    if (query.get("from")) await clone(query.get("from"));
    else if (!field.metadata.value) useSample();
    changed();
  }

  async function clone(id) {
    const body = submission(await ask(`api/tasks/${encodeURIComponent(id)}`));
    for (const name of ["title", "description", "priority"]) field[name].value = body[name] ?? "";
    field.type.value = body.type ?? "simulate";
    field.metadata.value = body.metadata ? JSON.stringify(body.metadata, null, 2) : "";
    kept = Object.fromEntries(["max_attempts", "timeout_seconds"].filter((name) => name in body).map((name) => [name, body[name]]));
  }

  // What was written by hand stays.
  field.type.addEventListener("change", () => field.metadata.value === offered && useSample());
  changed();
  begin().catch((problem) => refused(problem, "read"));
  return {};
}
