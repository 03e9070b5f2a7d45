// Where one is: all of it stands in the query of the address, so that it can be shared.
import { written } from "./api.js";

/** Tells of a `change` of place. */
export const place = new EventTarget();

export const params = () => new URLSearchParams(location.search);

/** Write the address of a place. */
export const to = (query) => written(query) || "?view=overview";

/** Go there; `replace` leaves no step behind in the browser's history. */
export function go(address, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", address);
  place.dispatchEvent(new Event("change"));
}

addEventListener("popstate", () => place.dispatchEvent(new Event("change")));

addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[href^='?']") : null;
  const plain = !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || event.button);
  if (!link || !plain || event.defaultPrevented) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
