// The fields of the form, each with a place for what is wrong with it.
import { h, say } from "../../dom.js";
import { PRIORITIES } from "../../filters.js";

const LABELS = {
  title: "Title",
  description: "Description",
  type: "Type",
  priority: "Priority",
  delay_seconds: "Delay in seconds",
  metadata: "Payload (JSON)",
};
const NAMES = Object.keys(LABELS);
const option = (value, words = value) => h("option", { value }, words);

/** Return the fields by name, rows with label and error, and how to read and blame them. */
export function formFields() {
  const priorities = PRIORITIES.map((name) => option(name));
  const off = { autocomplete: "off" };
  const field = {
    title: h("input", { maxlength: 255, required: true, ...off }),
    description: h("textarea", { rows: 3, required: true }),
    type: h("select", {}, option("simulate")),
    priority: h("select", {}, option("", "as the payload says, else normal"), priorities),
    delay_seconds: h("input", { inputmode: "decimal", placeholder: "0", ...off }),
    metadata: h("textarea.mono", { rows: 10, spellcheck: "false", ...off }),
  };
  const errors = {};
  for (const name of NAMES) {
    errors[name] = h("p.field-error", { id: `e-${name}` });
    field[name].id = `f-${name}`;
    field[name].setAttribute("aria-describedby", `e-${name}`);
  }
  const rest = h("p.field-error", { role: "alert" });

  function row(name, ...more) {
    const label = h("label", { for: `f-${name}` }, LABELS[name]);
    return h("div.field", {}, label, field[name], errors[name], more);
  }

  /** Tell what is wrong, `[{field, message}]`, at its fields; returns the first field of them. */
  function blame(wrong) {
    const told = NAMES.filter((name) => blameField(name, wrong));
    const others = wrong.filter(({ field: path }) => !NAMES.includes(path.split(".")[0]));
    say(rest, others.map(({ field: path, message }) => `${path} ${message}`).join("; "));
    return field[told[0]];
  }

  function blameField(name, wrong) {
    const own = wrong.filter(({ field: path }) => path.split(".")[0] === name);
    const lines = own.map(
      ({ field: path, message }) => `${path.slice(name.length + 1)} ${message}`,
    );
    say(errors[name], lines.join("; ").trim());
    if (own.length) field[name].setAttribute("aria-invalid", "true");
    else field[name].removeAttribute("aria-invalid");
    return own.length > 0;
  }

  const values = () => Object.fromEntries(NAMES.map((name) => [name, field[name].value]));
  const offerTypes = (names) => field.type.replaceChildren(...names.map((name) => option(name)));
  return { field, row, rest, blame, values, offerTypes };
}
