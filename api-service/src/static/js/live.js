// Server-sent events read with fetch: EventSource can send no key.
import { open } from "./api.js";

//: The API sends a comment every 15 s; a stream that is silent for longer is a dead one.
const SILENCE_MS = 25_000;
const LONGEST_MS = 15_000;

/** Follow a stream of the API until `stop()` is called or it says that it is over.
 *
 * `onEvent(name, data)` for each event, `onState(state)` with `live`, `connecting`, `lost`,
 * `paused` (the tab is hidden) or `over`. `since`: the id to go on from. */
export function follow(path, { onEvent, onState = () => {}, since = null }) {
  let aborter = null;
  let stopped = false;
  let failures = 0;
  let timer = null;
  let id = since;

  async function connect() {
    timer = null;
    if (stopped || document.hidden || aborter) return;
    const mine = new AbortController();
    aborter = mine;
    onState(failures ? "lost" : "connecting");
    let pause = null;
    try {
      const response = await open(path, { signal: mine.signal, since: id });
      for await (const event of events(response.body, mine, () => alive())) {
        if (event.id) id = event.id;
        if (event.name === "end" && ["final", "deleted"].includes(event.data.reason))
          stopped = true;
        tell(event);
      }
    } catch (error) {
      pause = error.retryAfter;
    }
    mine.abort();
    if (aborter === mine) aborter = null;
    if (stopped) return onState("over");
    if (document.hidden) return undefined;
    failures += 1;
    onState("lost");
    const wait = Math.max((pause ?? 0) * 1000, 500 * 2 ** failures);
    timer = setTimeout(connect, Math.min(wait, LONGEST_MS));
    return undefined;
  }

  /** A listener that breaks is no reason to connect again. */
  function tell({ name, data }) {
    try {
      onEvent(name, data);
    } catch (error) {
      reportError(error);
    }
  }

  function alive() {
    if (failures || aborter) onState("live");
    failures = 0;
  }

  function look() {
    clearTimeout(timer);
    if (stopped) return;
    if (document.hidden) {
      aborter?.abort();
      aborter = null;
      onState("paused");
    } else {
      connect();
    }
  }

  document.addEventListener("visibilitychange", look);
  look();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
      aborter?.abort();
      document.removeEventListener("visibilitychange", look);
    },
  };
}

/** Read the events of a body; whatever comes, comments too, is a sign of life. */
async function* events(body, aborter, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let silence = null;
  try {
    for (;;) {
      silence = setTimeout(() => aborter.abort(), SILENCE_MS);
      const { done, value } = await reader.read();
      clearTimeout(silence);
      if (done) return;
      alive();
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const event = parse(block);
        if (event) yield event;
      }
    }
  } finally {
    clearTimeout(silence);
    reader.cancel().catch(() => {});
  }
}

function parse(block) {
  const event = { name: "message", data: "", id: null };
  for (const line of block.split(/\r?\n/)) {
    const [field, value] = [line.split(":", 1)[0], line.slice(line.indexOf(":") + 1).trimStart()];
    if (field === "event") event.name = value;
    if (field === "data") event.data += value;
    if (field === "id") event.id = value;
  }
  return event.data ? { ...event, data: JSON.parse(event.data) } : null;
}

/** Gather tasks by id and hand them on once a frame, the latest state of each. */
export function framed(deed) {
  let waiting = new Map();
  return (task) => {
    if (!waiting.size) {
      requestAnimationFrame(() => {
        const tasks = [...waiting.values()];
        waiting = new Map();
        deed(tasks);
      });
    }
    waiting.set(task.task_id, task);
  };
}
