// JSON Schema, as far as a form needs it: what is plainly wrong is told at once, the rest by the API.

const NAMES = {
  object: "an object",
  array: "a list",
  string: "text",
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
  null: "null",
};

/** Return what is wrong with a value: `[{field, message}]`, empty where nothing is seen. */
export function check(schema, value, field = "metadata", root = schema) {
  const rule = resolve(schema, root);
  if (rule === null || typeof rule !== "object") return [];
  const choices = rule.anyOf ?? rule.oneOf;
  if (choices) {
    const found = choices.map((choice) => check(choice, value, field, root));
    return found.some((errors) => !errors.length)
      ? []
      : found.reduce((a, b) => (deepest(b) > deepest(a) ? b : a));
  }
  const wrong = kindError(rule, value) ?? valueError(rule, value);
  if (wrong) return [{ field, message: wrong }];
  if (Array.isArray(value)) {
    return rule.items
      ? value.flatMap((one, n) => check(rule.items, one, `${field}.${n}`, root))
      : [];
  }
  return isObject(value) ? objectErrors(rule, value, field, root) : [];
}

/** Return a value to start from: the schema's own examples and defaults before anything made up. */
export function example(schema, root = schema, depth = 0) {
  const rule = resolve(schema, root);
  if (rule === null || typeof rule !== "object" || depth > 8) return null;
  const [said] = [rule.examples?.[0], rule.default, rule.const, rule.enum?.[0]].filter(
    (one) => one !== undefined && one !== null,
  );
  if (said !== undefined) return said;
  const choice = (rule.anyOf ?? rule.oneOf)?.[0];
  if (choice) return example(choice, root, depth + 1);
  if (rule.properties || rule.type === "object") {
    const wanted = Object.entries(rule.properties ?? {}).filter(
      ([name, part]) =>
        rule.required?.includes(name) || (resolve(part, root).default ?? null) !== null,
    );
    return Object.fromEntries(wanted.map(([name, part]) => [name, example(part, root, depth + 1)]));
  }
  const low = rule.minimum ?? (rule.exclusiveMinimum === undefined ? 1 : rule.exclusiveMinimum + 1);
  const made = {
    string: "text".padEnd(rule.minLength ?? 0, "x"),
    integer: low,
    number: low,
    boolean: false,
    null: null,
  };
  if (rule.type === "array") return rule.items ? [example(rule.items, root, depth + 1)] : [];
  return made[rule.type] ?? null;
}

function resolve(schema, root) {
  const path = schema?.$ref?.match(/^#\/(.*)$/)?.[1];
  return path ? (path.split("/").reduce((part, name) => part?.[name], root) ?? {}) : schema;
}

function kindError({ type }, value) {
  const kinds = type === undefined ? [] : [type].flat();
  const kind = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  const fits = (one) =>
    one === kind || (kind === "number" && one === "integer" && Number.isInteger(value));
  if (!kinds.length || kinds.some(fits)) return null;
  return `must be ${kinds.map((one) => NAMES[one] ?? one).join(" or ")}`;
}

function valueError(rule, value) {
  if (rule.const !== undefined && rule.const !== value)
    return `must be ${JSON.stringify(rule.const)}`;
  if (rule.enum && !rule.enum.includes(value))
    return `must be one of ${rule.enum.map((one) => JSON.stringify(one)).join(", ")}`;
  if (typeof value === "number") {
    if (value < rule.minimum) return `must be at least ${rule.minimum}`;
    if (value > rule.maximum) return `must be at most ${rule.maximum}`;
    if (value <= rule.exclusiveMinimum) return `must be more than ${rule.exclusiveMinimum}`;
    if (value >= rule.exclusiveMaximum) return `must be less than ${rule.exclusiveMaximum}`;
  }
  const size =
    typeof value === "string" ? [...value].length : Array.isArray(value) ? value.length : null;
  const [least, most, unit] =
    typeof value === "string"
      ? [rule.minLength, rule.maxLength, "characters"]
      : [rule.minItems, rule.maxItems, "entries"];
  if (size !== null && size < least) return `must have at least ${least} ${unit}`;
  if (size !== null && size > most) return `must have at most ${most} ${unit}`;
  return null;
}

function objectErrors(rule, value, field, root) {
  const known = rule.properties ?? {};
  const missing = (rule.required ?? []).filter((name) => !Object.hasOwn(value, name));
  const unknown =
    rule.additionalProperties === false
      ? Object.keys(value).filter((name) => !Object.hasOwn(known, name))
      : [];
  return [
    ...missing.map((name) => ({ field: `${field}.${name}`, message: "is required" })),
    ...unknown.map((name) => ({ field: `${field}.${name}`, message: "is not known" })),
    ...Object.entries(known)
      .filter(([name]) => Object.hasOwn(value, name))
      .flatMap(([name, part]) => check(part, value[name], `${field}.${name}`, root)),
  ];
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const deepest = (errors) => Math.max(...errors.map(({ field }) => field.split(".").length));
