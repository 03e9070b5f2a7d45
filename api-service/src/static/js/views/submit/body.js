// The body of a submission: out of a form's values, or of a task that is there.
import { check } from "../../schema.js";

/** Return `{body, wrong}` of the form's texts. `type`: its entry in the catalogue, if there is one;
 * `kept`: fields that the form does not show. */
export function readBody(values, type, kept) {
  const wrong = [];
  const body = { ...kept, title: values.title, description: values.description };
  for (const name of ["title", "description"]) {
    if (!body[name].trim()) wrong.push({ field: name, message: "is required" });
  }
  if (values.type !== "simulate") body.type = values.type;
  if (values.priority) body.priority = values.priority;
  if (values.delay_seconds.trim()) {
    body.delay_seconds = Number(values.delay_seconds);
    const message = "must be a number of seconds, 0 or more";
    if (!(body.delay_seconds >= 0)) wrong.push({ field: "delay_seconds", message });
  }
  try {
    if (values.metadata.trim()) body.metadata = JSON.parse(values.metadata);
    const schema = type?.payload_schema ?? { type: ["object", "null"] };
    wrong.push(...check(schema, body.metadata ?? (type?.payload_schema ? {} : null)));
  } catch (error) {
    wrong.push({ field: "metadata", message: `is no JSON: ${error.message}` });
  }
  return { body, wrong };
}

/** The body that would submit a task once more. */
export function submission(task) {
  const body = { title: task.title, description: task.description };
  if (task.metadata !== null) body.metadata = task.metadata;
  if (task.type !== "simulate") body.type = task.type;
  if (task.priority !== "normal" || task.metadata?.priority) body.priority = task.priority;
  return { ...body, ...unshown(task) };
}

const UNSHOWN = ["max_attempts", "timeout_seconds", "callback_url"];

/** What a form does not show, and a clone keeps. */
export function unshown(task) {
  return Object.fromEntries(
    UNSHOWN.filter((name) => task[name] !== null).map((name) => [name, task[name]]),
  );
}
