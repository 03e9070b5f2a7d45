// The only place that asks the API: its key, its time limits, and what its refusals mean.
import { learnClock } from "./format.js";
import { key } from "./session.js";

const SECONDS = 15;
//: An answer that takes longer than this is worth a word.
const SLOW_MS = 2000;

/** Tells of `answer` events: `detail` is `{ok, problem, slow}`. */
export const answers = new EventTarget();

/** A refusal, or no answer at all (`status` 0). `errors` name fields, `retryAfter` is in seconds,
 * `key` is the one that was sent. */
class Problem extends Error {
  constructor(status, body = {}, retryAfter = null) {
    super(body.detail ?? `The API answered ${status}.`);
    this.status = status;
    this.errors = body.errors ?? [];
    this.requestId = body.request_id ?? null;
    this.retryAfter = retryAfter;
    this.key = null;
  }
}

/** Ask for JSON. `query`: values, lists and what is empty. Throws a Problem, or AbortError where
 * `signal` says so. */
export async function ask(path, { query, signal } = {}) {
  const response = await request("GET", path + written(query), { signal });
  return response.json();
}

/** Send a body, or none; returns what is answered, null for 204. */
export async function send(method, path, body, { headers, quiet = false } = {}) {
  const response = await request(method, path, { body, headers, quiet });
  return response.status === 204 ? null : response.json();
}

/** Open a stream of events; the response's body is read by who asked. */
export function open(path, { signal, since }) {
  const headers = { Accept: "text/event-stream" };
  if (since) headers["Last-Event-ID"] = since;
  return request("GET", path, { signal, headers });
}

/** Write a query as the API, and the address bar, take it. */
export function written(query = {}) {
  const wanted = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) {
      if (one !== null && one !== undefined && one !== "") wanted.append(name, one);
    }
  }
  const text = wanted.toString();
  return text ? `?${text}` : "";
}

async function request(method, path, { signal, body, headers = {}, quiet = false }) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), SECONDS * 1000);
  const stop = () => limit.abort();
  signal?.addEventListener("abort", stop);
  if (signal?.aborted) stop();
  const slow = setTimeout(() => tell({ slow: true }), SLOW_MS);
  const all = { ...headers };
  const used = key.get();
  if (used) all.Authorization = `Bearer ${used}`;
  if (body !== undefined) all["Content-Type"] = "application/json";
  try {
    const response = await fetch(path, {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: limit.signal,
      cache: "no-store",
    });
    learnClock(response.headers.get("Date"));
    if (!response.ok) throw await refusal(response);
    if (!quiet) tell({ ok: true });
    return response;
  } catch (error) {
    if (signal?.aborted) throw error;
    const problem = error instanceof Problem ? error : silence(limit.signal.aborted);
    problem.key = used;
    // What a deed was refused for is told where it was asked for.
    if (!quiet && !(method !== "GET" && problem.status === 403)) tell({ problem });
    throw problem;
  } finally {
    clearTimeout(timer);
    clearTimeout(slow);
    // A stream goes on after its answer has begun: its `signal` stays heeded, its time has no limit.
    if (headers.Accept !== "text/event-stream") signal?.removeEventListener("abort", stop);
  }
}

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  const after = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new Problem(response.status, body, Number.isNaN(after) ? null : after);
}

function silence(late) {
  const detail = late ? `The API has been silent for ${SECONDS} s.` : "The API cannot be reached.";
  return Object.assign(new Problem(0, { detail }), { late });
}

function tell(detail) {
  answers.dispatchEvent(new CustomEvent("answer", { detail }));
}
