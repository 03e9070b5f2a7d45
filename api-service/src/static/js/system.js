// The state of the whole, read every few seconds for all views; banners say what is wrong with it.
import { ask } from "./api.js";
import { learnWorkers } from "./catalogue.js";
import { changes } from "./changes.js";
import { h } from "./dom.js";
import { clock, instant, length, now } from "./format.js";
import { notice } from "./notices.js";
import { poll } from "./poll.js";

const SECONDS = 5;
const SLOW_MS = 1000;
//: Types that one request may name.
const MOST_TYPES = 10;
const listeners = new Set();
let latest = null;
let asking = null;

/** Hear of `{stats, workers}` now, if they are known, and whenever they were read. */
export function onSystem(listener) {
  listeners.add(listener);
  if (latest) listener(latest);
  const stop = changes.listen({ onTasks: () => asking?.soon(), onReset: () => asking?.soon() });
  asking?.soon();
  return () => {
    listeners.delete(listener);
    stop();
  };
}

export function startSystem() {
  asking?.stop();
  latest = null;
  asking = poll(read, SECONDS);
}

async function read() {
  const began = performance.now();
  const stats = await ask("api/stats");
  const took = performance.now() - began;
  const { workers } = await ask("api/workers");
  changes.start();
  learnWorkers(workers);
  latest = { stats, workers };
  for (const listener of listeners) listener(latest);
  tellOfBroker(stats.broker);
  await tellOfDatabase(took);
  await tellOfWorkers(stats, workers);
}

function tellOfBroker(broker) {
  notice(
    "broker",
    broker.state !== "away"
      ? null
      : {
          title: `The broker is away since ${clock(broker.since)}.`,
          words:
            "Nothing is lost: workers take tasks from the table, some seconds after they are due. Start it again: docker compose start rabbitmq.",
        },
  );
}

/** Slow is the database only where the API itself is not. */
async function tellOfDatabase(took) {
  let slow = took > SLOW_MS;
  if (slow) {
    const began = performance.now();
    await ask("health/live");
    slow = performance.now() - began < took / 4;
  }
  notice(
    "database",
    !slow
      ? null
      : {
          title: "The database answers slowly.",
          words: `The statistics took ${length(took)}, the API without the database a fraction of it. Look at the database's load and disk.`,
        },
  );
}

async function tellOfWorkers(stats, workers) {
  const served = new Set(
    workers.filter((worker) => worker.is_live).flatMap((worker) => worker.types),
  );
  const unserved = Object.keys(stats.by_type).filter(
    (type) => !served.has(type) && stats.by_type[type].count,
  );
  const waiting =
    stats.oldest_due_seconds === null || !unserved.length ? [] : await waitingTypes(unserved);
  notice(
    "workers",
    !waiting.length
      ? null
      : {
          tone: "bad",
          title: served.size
            ? `No live worker serves ${waiting.join(", ")}.`
            : "No worker is alive.",
          words: served.size
            ? "Tasks of this kind are due and wait. Start a worker whose HANDLER_MODULES names the handler."
            : `Tasks are due and wait: ${waiting.join(", ")}. Start a worker: docker compose up -d worker_service, or ./dev start.`,
          actions: [
            h(
              "a",
              {
                href: `?view=tasks&status=PENDING${waiting.map((type) => `&type=${encodeURIComponent(type)}`).join("")}`,
              },
              "Show them",
            ),
          ],
        },
  );
}

async function waitingTypes(types) {
  const query = { status: "PENDING", type: types.slice(0, MOST_TYPES), limit: 200 };
  const { tasks } = await ask("api/tasks", { query });
  return [
    ...new Set(tasks.filter((task) => instant(task.run_at) <= now()).map((task) => task.type)),
  ].sort();
}
