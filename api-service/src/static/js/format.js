// Times, lengths and numbers for people.

const NUMBER = new Intl.NumberFormat("en");
const CLOCK = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const DAY = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short" });
const YEAR = new Intl.DateTimeFormat("en-GB", { year: "numeric" });

/** Milliseconds that the server's clock is ahead of this one's. */
let ahead = 0;

/** Learn the server's time from an answer's `Date`, which is to the second. */
export function learnClock(date) {
  const at = Date.parse(date ?? "");
  if (!Number.isNaN(at) && Math.abs(at - Date.now() - ahead) > 1500) ahead = at - Date.now();
}

export const now = () => Date.now() + ahead;

/** Read a time of the API: UTC, with or without its zone. */
export function instant(text) {
  return text ? Date.parse(/Z|[+-]\d\d:\d\d$/.test(text) ? text : `${text}Z`) : null;
}

export const number = (value) => NUMBER.format(value);

/** A count that may have been cut off. */
export const count = ({ count: value, or_more: more }) =>
  `${NUMBER.format(value)}${more ? "+" : ""}`;

/** The clock, with the day where it is not today's. */
export function clock(text) {
  const at = instant(text);
  if (at === null) return "";
  const date = new Date(at);
  const today = new Date(now());
  if (date.toDateString() === today.toDateString()) return CLOCK.format(date);
  const year = date.getFullYear() === today.getFullYear() ? "" : ` ${YEAR.format(date)}`;
  return `${DAY.format(date)}${year} ${CLOCK.format(date)}`;
}

/** A length in milliseconds, to three digits or so: `7 ms`, `1.24 s`, `3 min 12 s`, `2 h 5 min`. */
export function length(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return pair(Math.round(ms / 1000));
}

/** A length of waiting in whole seconds, for what counts up or down. */
export function seconds(ms) {
  const whole = Math.max(Math.round(ms / 1000), 0);
  return whole < 60 ? `${whole} s` : pair(whole);
}

function pair(whole) {
  const units = [
    ["d", 86_400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ];
  const first = units.findIndex(([, size]) => whole >= size);
  const [name, size] = units[first];
  const rest = units[first + 1];
  const left = rest ? Math.floor((whole % size) / rest[1]) : 0;
  return `${Math.floor(whole / size)} ${name}${left ? ` ${left} ${rest[0]}` : ""}`;
}

export const plural = (value, word) => `${number(value)} ${word}${value === 1 ? "" : "s"}`;
