// The types that can be submitted, and how many errors each is allowed.
import { ask } from "./api.js";

const KEPT_MS = 30_000;
let types = [];
let usual = null;
let readAt = 0;
let reading = null;

/** Return the types, at most half a minute old. */
export async function readTypes() {
  if (Date.now() - readAt > KEPT_MS) reading ??= read();
  try {
    await reading;
  } finally {
    reading = null;
  }
  return types;
}

async function read() {
  const [catalogue, force] = await Promise.all([ask("api/task-types"), ask("api/workers")]);
  types = catalogue.types;
  learnWorkers(force.workers);
  readAt = Date.now();
}

/** Workers say how many errors are allowed where neither the task nor its type does. */
export function learnWorkers(workers) {
  usual = Math.max(...workers.map((worker) => worker.max_attempts), 0) || usual;
}

export function limitOf(task) {
  const type = types.find(({ name }) => name === task.type);
  return task.max_attempts ?? type?.max_attempts ?? usual;
}
