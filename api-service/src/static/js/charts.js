// Bars of an hour: a small SVG, drawn once and then only moved.
import { h, s, say } from "./dom.js";
import { clock, number } from "./format.js";

const WIDTH = 240;
const HEIGHT = 48;
const MINUTES = 60;
const STEP = WIDTH / MINUTES;

/** Make a chart of one number a minute. `draw(minutes, name)` takes what the API says. */
export function minuteChart(title, tone) {
  const bars = Array.from({ length: MINUTES }, (_, n) =>
    s("rect", { x: n * STEP + 0.4, width: STEP - 0.8, y: HEIGHT, height: 0 }),
  );
  const chart = s(
    `svg.bars.${tone}`,
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
    bars,
  );
  const value = h("span.value");
  const when = h("span.when");
  const top = h("span.top");
  const element = h(
    "figure.chart",
    {},
    h("figcaption", {}, h("span.name", {}, title), when, value),
    h("div.plot", {}, chart, top),
    h("div.axis", { "aria-hidden": "true" }, h("span", {}, "−60 min"), h("span", {}, "now")),
  );
  let shown = [];

  function tell(n) {
    const minute = shown[n];
    say(value, minute ? number(minute.value) : "–");
    say(
      when,
      n === MINUTES - 1
        ? "this minute"
        : minute
          ? clock(minute.minute).slice(0, -3)
          : "not counted",
    );
  }
  chart.addEventListener("pointermove", (event) => {
    const { left, width } = chart.getBoundingClientRect();
    tell(
      Math.min(Math.max(Math.floor(((event.clientX - left) / width) * MINUTES), 0), MINUTES - 1),
    );
  });
  chart.addEventListener("pointerleave", () => tell(MINUTES - 1));

  function draw(minutes, name) {
    shown = slots(minutes, name);
    const known = shown.filter(Boolean).map((minute) => minute.value);
    const most = Math.max(...known, 1);
    shown.forEach((minute, n) => {
      const height = minute?.value ? Math.max((minute.value / most) * HEIGHT, 1.5) : 0;
      bars[n].setAttribute("y", HEIGHT - height);
      bars[n].setAttribute("height", height);
    });
    say(top, `max ${number(most)}`);
    tell(MINUTES - 1);
    const sum = known.reduce((total, one) => total + one, 0);
    chart.setAttribute(
      "aria-label",
      `${title} per minute: ${number(sum)} in the last hour, at most ${number(Math.max(...known, 0))} in a minute`,
    );
  }
  return { element, draw };
}

/** Put the minutes of the last hour into their places; one that was not counted leaves a gap. */
function slots(minutes, name) {
  const last = Date.parse(minutes.at(-1)?.minute ?? "");
  const places = new Array(MINUTES).fill(null);
  for (const minute of minutes) {
    const n = MINUTES - 1 - Math.round((last - Date.parse(minute.minute)) / 60_000);
    if (n >= 0) places[n] = { minute: minute.minute, value: minute[name] };
  }
  return places;
}
